//! As much of a POSIX shell as clients of a Linux-based switch use: words with quotes, lists with `;`, `&&` and `||`, pipes into the
//! usual filters, `$?`, `sudo`, redirections to nowhere. What a program does is told by the operating system that is played.
//!
//! Source: IEEE Std 1003.1, Shell Command Language, sections 2.2 (quoting), 2.5.2 (`$?`), 2.9 (lists).

use super::{Answer, Session, Weight};
use crate::netos::faults::{Faults, Then, Verdict};

/// What one command left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// What it wrote for its reader.
    pub(crate) out: String,
    /// What it complained about.
    pub(crate) err: String,
    /// Its exit status; 0 is success.
    pub(crate) status: u8,
}

impl Ran {
    /// Success, with this output.
    pub(crate) fn ok(out: impl Into<String>) -> Self {
        Self { out: out.into(), ..Self::default() }
    }

    /// Failure, with this complaint.
    pub(crate) fn failed(status: u8, err: impl Into<String>) -> Self {
        Self { err: err.into(), status, ..Self::default() }
    }
}

/// What a line left behind: the streams apart, for `exec` requests, and as they would be mixed on a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineRan {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Both in the order in which they were written.
    pub(crate) both: String,
    /// The status of the last command.
    pub(crate) status: u8,
    /// Whether the shell was told to end.
    pub(crate) exit: bool,
}

/// The programs of a machine.
pub(crate) trait Programs {
    /// Runs the program named by the first word, with these arguments and this input; `None` if there is no such program.
    fn program(&mut self, words: &[String], input: &str) -> Option<Ran>;
    /// Who is logged in.
    fn user(&self) -> String;
    /// The machine's name.
    fn host(&self) -> String;
    /// Says whether what follows is run by the superuser (`sudo`).
    fn elevate(&mut self, root: bool) {
        let _ = root;
    }
}

/// A machine on which one logs in to a shell, beside its programs.
pub(crate) trait Machine: Programs + Send {
    /// The shell's prompt.
    fn prompt(&self) -> String;
    /// What a program is asking and waits to be answered.
    fn question(&self) -> Option<String> {
        None
    }
    /// Carries out what waited for this answer.
    fn answer(&mut self, line: &str) -> Ran {
        let _ = line;
        Ran::default()
    }
    /// How long a line takes.
    fn weight(&self, line: &str) -> Weight {
        let _ = line;
        Weight::Light
    }
    /// Whether a line changes something at once.
    fn changes(&self, line: &str) -> bool {
        let _ = line;
        false
    }
    /// What a program that is told to refuse says.
    fn refuse(&self, line: &str) -> Ran;
    /// How a fault within the last line leaves the session.
    fn take_then(&mut self) -> Option<Then> {
        None
    }
}

/// A log-in's shell.
pub(crate) struct Shell<M> {
    machine: M,
    last: u8,
}

impl<M: Machine> Shell<M> {
    /// A shell of this machine.
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, last: 0 }
    }

    /// Carries out a command without a terminal, under the machine's faults.
    pub(crate) fn exec(mut self, faults: &Faults, command: &str) -> Answer {
        let refused = match faults.line(command, self.machine.changes(command)) {
            Verdict::Go => None,
            Verdict::Refuse | Verdict::Broken(Then::Refuse) => Some(self.machine.refuse(command)),
            Verdict::Broken(then) => return Answer { then: Some(then), ..Answer::default() },
        };
        if let Some(ran) = refused {
            return Answer { text: ran.out, error: ran.err, status: ran.status.into(), ..Answer::default() };
        }
        let ran = run(command, 0, &mut self.machine);
        // Nobody is there to answer a question: what asked it reads the end of its input.
        let (err, status) = match self.machine.question() {
            Some(question) => (format!("{}{question}\nAborted!\n", ran.err), 1),
            None => (ran.err, ran.status),
        };
        Answer { text: ran.out, error: err, status: status.into(), end: false, then: self.machine.take_then() }
    }
}

impl<M: Machine> Session for Shell<M> {
    fn prompt(&self) -> String {
        self.machine.question().unwrap_or_else(|| self.machine.prompt())
    }

    fn line(&mut self, line: &str) -> Answer {
        if self.machine.question().is_some() {
            let ran = self.machine.answer(line);
            self.last = ran.status;
            let then = self.machine.take_then();
            return Answer { text: ran.out, error: ran.err, status: ran.status.into(), end: false, then };
        }
        let ran = run(line, self.last, &mut self.machine);
        self.last = ran.status;
        Answer { text: ran.both, error: String::new(), status: ran.status.into(), end: ran.exit, then: self.machine.take_then() }
    }

    fn weight(&self, line: &str) -> Weight {
        self.machine.weight(line)
    }

    fn configures(&self, line: &str) -> bool {
        self.machine.changes(line)
    }

    fn refuse(&mut self, line: &str) -> Answer {
        let ran = self.machine.refuse(line);
        self.last = ran.status;
        Answer { text: ran.out, error: ran.err, status: ran.status.into(), ..Answer::default() }
    }
}

/// JSON as Python prints it with an indentation.
pub(crate) fn pretty(value: &serde_json::Value, indent: usize) -> String {
    let pad = " ".repeat(indent).into_bytes();
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(&pad);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing values to memory does not fail.
    let _written = serde::Serialize::serialize(value, &mut serializer);
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

/// How deep `sh -c` may be nested.
const DEPTH: usize = 4;

/// Runs one line. `last` is what `$?` is at first.
pub(crate) fn run(line: &str, last: u8, programs: &mut dyn Programs) -> LineRan {
    run_deep(line, last, programs, 0)
}

fn run_deep(line: &str, last: u8, programs: &mut dyn Programs, depth: usize) -> LineRan {
    let mut ran = LineRan { status: last, ..LineRan::default() };
    let tokens = match lex(line) {
        Ok(tokens) => tokens,
        Err(wrong) => {
            ran.status = 2;
            ran.err = format!("-bash: {wrong}\n");
            ran.both.clone_from(&ran.err);
            return ran;
        }
    };
    let mut skip = false;
    let mut rest = tokens.as_slice();
    while !rest.is_empty() && !ran.exit {
        let end = rest.iter().position(|it| matches!(it, Token::Then(_))).unwrap_or(rest.len());
        let (pipeline, after) = rest.split_at(end);
        if !skip && !pipeline.is_empty() {
            run_pipeline(pipeline, &mut ran, programs, depth);
        }
        let Some((Token::Then(how), after)) = after.split_first() else { break };
        skip = match how {
            Join::Always => false,
            Join::Success => ran.status != 0,
            Join::Failure => ran.status == 0,
        };
        rest = after;
    }
    ran
}

fn run_pipeline(tokens: &[Token], ran: &mut LineRan, programs: &mut dyn Programs, depth: usize) {
    let mut input = String::new();
    let stages: Vec<&[Token]> = tokens.split(|it| *it == Token::Pipe).collect();
    let count = stages.len();
    let negate = matches!(stages.first().and_then(|it| it.first()), Some(Token::Word(parts)) if parts == &[Part::Text("!".into())]);
    for (number, stage) in stages.into_iter().enumerate() {
        let mut words = Vec::new();
        let (mut merge, mut no_out, mut no_err) = (false, false, false);
        for token in stage {
            match token {
                Token::Word(parts) => words.push(expand(parts, ran.status, programs)),
                Token::Redirect(Redirect::ErrToOut) => merge = true,
                Token::Redirect(Redirect::NoOut) => no_out = true,
                Token::Redirect(Redirect::NoErr) => no_err = true,
                Token::Pipe | Token::Then(_) => {}
            }
        }
        if number == 0 && negate {
            words.remove(0);
        }
        while words.first().is_some_and(|it| is_assignment(it)) {
            words.remove(0);
        }
        let mut one =
            if words.is_empty() { Ran { status: ran.status, ..Ran::default() } } else { command(&words, &input, ran, programs, depth) };
        if merge {
            let err = std::mem::take(&mut one.err);
            one.out.push_str(&err);
        }
        if no_out {
            one.out.clear();
        }
        if no_err {
            one.err.clear();
        }
        ran.status = one.status;
        ran.err.push_str(&one.err);
        ran.both.push_str(&one.err);
        if number + 1 == count {
            ran.out.push_str(&one.out);
            ran.both.push_str(&one.out);
        } else {
            input = one.out;
        }
    }
    if negate {
        ran.status = u8::from(ran.status == 0);
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|it| it.is_ascii_uppercase() || it == '_' || it.is_ascii_digit()))
}

fn command(words: &[String], input: &str, ran: &mut LineRan, programs: &mut dyn Programs, depth: usize) -> Ran {
    let name = words.first().map_or("", String::as_str);
    let args = words.get(1..).unwrap_or_default();
    match name {
        "true" | ":" | "export" | "unset" | "set" | "cd" | "stty" | "alias" | "shopt" | "ulimit" | "umask" | "sync" | "sleep" => {
            Ran::ok("")
        }
        "false" => Ran::failed(1, ""),
        "exit" | "logout" => {
            ran.exit = true;
            Ran { status: args.first().and_then(|it| it.parse().ok()).unwrap_or(ran.status), ..Ran::default() }
        }
        "echo" => {
            let (end, args) =
                if args.first().is_some_and(|it| it == "-n") { ("", args.get(1..).unwrap_or_default()) } else { ("\n", args) };
            Ran::ok(format!("{}{end}", args.join(" ")))
        }
        "printf" => Ran::ok(printf(args)),
        "whoami" => Ran::ok(format!("{}\n", programs.user())),
        "id" => Ran::ok(if args.iter().any(|it| it == "-u") { "0\n" } else { "uid=0(root) gid=0(root) groups=0(root)\n" }),
        "hostname" => Ran::ok(format!("{}\n", programs.host())),
        "uname" => {
            let long = args.iter().any(|it| it == "-a");
            Ran::ok(if long { format!("Linux {} 6.1.0-22-amd64 #1 SMP x86_64 GNU/Linux\n", programs.host()) } else { "Linux\n".into() })
        }
        "sudo" | "env" | "command" | "exec" | "nice" | "timeout" => {
            let skip = args.iter().take_while(|it| it.starts_with('-') || is_assignment(it)).count() + usize::from(name == "timeout");
            match args.get(skip..) {
                Some(rest) if !rest.is_empty() => {
                    if name == "sudo" {
                        programs.elevate(true);
                    }
                    let out = command(rest, input, ran, programs, depth);
                    if name == "sudo" {
                        programs.elevate(false);
                    }
                    out
                }
                _ => Ran::ok(""),
            }
        }
        "sh" | "bash" | "/bin/sh" | "/bin/bash" => match args.iter().position(|it| it.starts_with('-') && it.ends_with('c')) {
            Some(at) if depth < DEPTH => {
                let inner = run_deep(args.get(at + 1).map_or("", String::as_str), ran.status, programs, depth + 1);
                Ran { out: inner.out, err: inner.err, status: inner.status }
            }
            _ => Ran::ok(""),
        },
        "head" | "tail" | "grep" | "egrep" | "wc" | "tr" | "sort" | "tee" | "less" | "more" => filter(name, args, input),
        "cat" if args.is_empty() || args == ["-"] => Ran::ok(input),
        _ => programs.program(words, input).unwrap_or_else(|| Ran::failed(127, format!("-bash: {name}: command not found\n"))),
    }
}

fn printf(args: &[String]) -> String {
    let mut args = args.iter();
    let format = args.next().map_or("", String::as_str);
    let (mut out, mut chars) = (String::new(), format.chars());
    while let Some(it) = chars.next() {
        match (it, chars.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('%', Some('s' | 'd')) => out.push_str(args.next().map_or("", String::as_str)),
            ('%', Some('%')) => out.push('%'),
            _ => {
                out.push(it);
                continue;
            }
        }
        chars.next();
    }
    out
}

fn filter(name: &str, args: &[String], input: &str) -> Ran {
    let lines = || input.lines();
    let number = || args.iter().find_map(|it| it.trim_start_matches("-n").trim_start_matches('-').parse::<usize>().ok()).unwrap_or(10);
    let joined = |lines: Vec<&str>| lines.iter().map(|it| format!("{it}\n")).collect::<String>();
    match name {
        "head" => Ran::ok(joined(lines().take(number()).collect())),
        "tail" => {
            let skip = lines().count().saturating_sub(number());
            Ran::ok(joined(lines().skip(skip).collect()))
        }
        "wc" => Ran::ok(format!("{}\n", lines().count())),
        "sort" => {
            let mut all: Vec<&str> = lines().collect();
            all.sort_unstable();
            Ran::ok(joined(all))
        }
        "grep" | "egrep" => {
            let flag = |flag: char| args.iter().any(|it| it.starts_with('-') && !it.starts_with("--") && it.contains(flag));
            let pattern = args.iter().find(|it| !it.starts_with('-')).map_or("", String::as_str);
            let fits = |line: &str| {
                let (line, pattern) =
                    if flag('i') { (line.to_lowercase(), pattern.to_lowercase()) } else { (line.to_owned(), pattern.to_owned()) };
                pattern.split("\\|").any(|it| match it.strip_prefix('^') {
                    Some(start) => line.starts_with(start),
                    None => line.contains(it),
                }) != flag('v')
            };
            let found: Vec<&str> = lines().filter(|it| fits(it)).collect();
            let status = u8::from(found.is_empty());
            let out = if flag('q') {
                String::new()
            } else if flag('c') {
                format!("{}\n", found.len())
            } else {
                joined(found)
            };
            Ran { out, err: String::new(), status }
        }
        _ => Ran::ok(input),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Vec<Part>),
    Pipe,
    Then(Join),
    Redirect(Redirect),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
    Command(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Always,
    Success,
    Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redirect {
    ErrToOut,
    NoOut,
    NoErr,
}

fn expand(parts: &[Part], status: u8, programs: &mut dyn Programs) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => match name.as_str() {
                "?" => status.to_string(),
                "USER" | "LOGNAME" => programs.user(),
                "HOSTNAME" => programs.host(),
                "HOME" => ["", "home", &programs.user()].join("/"),
                "SHELL" => "/bin/bash".into(),
                _ => String::new(),
            },
            Part::Command(line) => run_deep(line, status, programs, DEPTH - 1).out.trim_end().to_owned(),
        })
        .collect()
}

fn lex(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<Vec<Part>> = None;
    let mut chars = line.chars().peekable();
    let text = |word: &mut Option<Vec<Part>>, it: char| {
        let parts = word.get_or_insert_default();
        if let Some(Part::Text(text)) = parts.last_mut() {
            text.push(it);
        } else {
            parts.push(Part::Text(it.to_string()));
        }
    };
    while let Some(it) = chars.next() {
        match it {
            ' ' | '\t' | '\r' => tokens.extend(word.take().map(Token::Word)),
            '#' if word.is_none() => while chars.next_if(|it| *it != '\n').is_some() {},
            '\'' => {
                word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(it) => text(&mut word, it),
                        None => return Err("unexpected EOF while looking for matching `''".into()),
                    }
                }
            }
            '"' => {
                let parts = word.get_or_insert_default();
                // An empty string is a word too.
                parts.push(Part::Text(String::new()));
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(it @ ('"' | '\\' | '$' | '`')) => text(&mut word, it),
                            Some(it) => {
                                text(&mut word, '\\');
                                text(&mut word, it);
                            }
                            None => return Err("unexpected EOF while looking for matching `\"'".into()),
                        },
                        Some('$') => variable(&mut chars, &mut word)?,
                        Some(it) => text(&mut word, it),
                        None => return Err("unexpected EOF while looking for matching `\"'".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(it) => text(&mut word, it),
            },
            '$' => variable(&mut chars, &mut word)?,
            ';' | '\n' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Then(Join::Always));
            }
            '&' => {
                tokens.extend(word.take().map(Token::Word));
                match chars.peek() {
                    Some('&') => {
                        chars.next();
                        tokens.push(Token::Then(Join::Success));
                    }
                    _ => tokens.push(Token::Then(Join::Always)),
                }
            }
            '|' => {
                tokens.extend(word.take().map(Token::Word));
                match chars.peek() {
                    Some('|') => {
                        chars.next();
                        tokens.push(Token::Then(Join::Failure));
                    }
                    _ => tokens.push(Token::Pipe),
                }
            }
            '>' => {
                let number = match word.take() {
                    Some(parts) if parts == [Part::Text("2".into())] => 2,
                    Some(parts) if parts == [Part::Text("1".into())] => 1,
                    Some(parts) => {
                        tokens.push(Token::Word(parts));
                        1
                    }
                    None => 1,
                };
                let mut target = String::new();
                while chars.next_if(|it| matches!(it, '>' | ' ')).is_some() {}
                while let Some(it) = chars.next_if(|it| !matches!(it, ' ' | ';' | '|' | '\n')) {
                    target.push(it);
                }
                match (number, target.as_str()) {
                    (2, "&1") => tokens.push(Token::Redirect(Redirect::ErrToOut)),
                    (1, "&2") => {}
                    (2, _) => tokens.push(Token::Redirect(Redirect::NoErr)),
                    _ => tokens.push(Token::Redirect(Redirect::NoOut)),
                }
            }
            '(' | ')' => return Err(format!("syntax error near unexpected token `{it}'")),
            it => text(&mut word, it),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    Ok(tokens)
}

fn variable(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut Option<Vec<Part>>) -> Result<(), String> {
    let parts = word.get_or_insert_default();
    match chars.peek() {
        Some('?') => {
            chars.next();
            parts.push(Part::Variable("?".into()));
        }
        Some('{') => {
            chars.next();
            let mut name = String::new();
            loop {
                match chars.next() {
                    Some('}') => break,
                    Some(it) => name.push(it),
                    None => return Err("unexpected EOF while looking for matching `}'".into()),
                }
            }
            parts.push(Part::Variable(name));
        }
        Some('(') => {
            chars.next();
            let (mut inner, mut open) = (String::new(), 1_u32);
            loop {
                match chars.next() {
                    Some(')') if open == 1 => break,
                    Some(it) => {
                        open = match it {
                            '(' => open.saturating_add(1),
                            ')' => open.saturating_sub(1),
                            _ => open,
                        };
                        inner.push(it);
                    }
                    None => return Err("unexpected EOF while looking for matching `)'".into()),
                }
            }
            parts.push(Part::Command(inner));
        }
        Some(it) if it.is_ascii_alphabetic() || *it == '_' => {
            let mut name = String::new();
            while let Some(it) = chars.next_if(|it| it.is_ascii_alphanumeric() || *it == '_') {
                name.push(it);
            }
            parts.push(Part::Variable(name));
        }
        _ => parts.push(Part::Text("$".into())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Box;

    impl Programs for Box {
        fn program(&mut self, words: &[String], _input: &str) -> Option<Ran> {
            match words.first()?.as_str() {
                "show" => Some(Ran::ok(format!("<{}>\n", words.get(1..)?.join("|")))),
                "break" => Some(Ran::failed(2, "broken\n")),
                _ => None,
            }
        }
        fn user(&self) -> String {
            "admin".into()
        }
        fn host(&self) -> String {
            "leaf1".into()
        }
    }

    fn both(line: &str) -> String {
        run(line, 0, &mut Box).both
    }

    #[test]
    fn words_are_taken_apart_as_a_shell_does() {
        assert_eq!(both(r#"show 'a b' "c \"d\"" e\ f """#), "<a b|c \"d\"|e f|>\n");
        assert_eq!(both("sudo -n LANG=C show x"), "<x>\n");
        assert_eq!(both("show 'unclosed"), "-bash: unexpected EOF while looking for matching `''\n");
    }

    #[test]
    fn the_exit_status_tells_of_failure() {
        assert_eq!(both("break; echo $?"), "broken\n2\n");
        assert_eq!(both("break && show x; show y || show z"), "broken\n<y>\n");
        assert_eq!(both("nothing || echo \"rc=$?\""), "-bash: nothing: command not found\nrc=127\n");
        assert_eq!(
            run("break 2>&1", 0, &mut Box),
            LineRan { out: "broken\n".into(), both: "broken\n".into(), status: 2, ..LineRan::default() }
        );
        assert_eq!(both("break 2>/dev/null; sh -c 'break; show in'; echo ${?}"), "broken\n<in>\n0\n");
    }

    #[test]
    fn filters_work_on_what_is_piped_into_them() {
        assert_eq!(both("printf 'one\\ntwo\\nthree\\n' | grep t | head -1"), "two\n");
        assert_eq!(both("show a | cat; echo $(show b)"), "<a>\n<b>\n");
        assert_eq!(both("show a | grep -q zzz; echo $?"), "1\n");
    }
}
