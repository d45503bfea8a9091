//! One log-in at a command line: prompts, answers, refusals.
//!
//! An answer ends at the next prompt. Nothing tells a prompt from a line of text that looks like one but what follows it, so an answer
//! that is to be read whole is ended by an empty command: its prompt follows the answer's at once, and no text does.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::Dialect;
use super::screen::{MOST, Screen};
use crate::switch::{Login, SwitchError};
use crate::transport::ssh::SshSession;

/// How long nothing more is said after what looks like the first prompt.
const SETTLED: Duration = Duration::from_millis(150);
/// After so long without a prompt a newly logged-in terminal gets an empty line: some wait for a key.
const NUDGE: Duration = Duration::from_secs(3);
/// An idle session that does not answer an empty line by then is taken for dead.
const ALIVE: Duration = Duration::from_secs(3);
/// How long a command that only concerns the terminal may take.
const ALONE: Duration = Duration::from_secs(10);
/// How many questions one command may ask.
const QUESTIONS: usize = 16;
/// The longest thing that is taken for a prompt.
const PROMPT: usize = 200;
/// Of longer names some switches show only so much in the prompts of configuring.
const NAME: usize = 16;
/// The terminal's width.
const WIDTH: usize = crate::transport::ssh::TERMINAL.0 as usize;
/// How much of a refusal is repeated to the operator, in characters.
const WORDS: usize = 300;

/// A terminal's two directions.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// How long something may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// In all.
    pub(super) whole: Duration,
    /// Without a word.
    pub(super) quiet: Duration,
    /// What is waited for.
    pub(super) doing: &'static str,
}

/// A line that the switch did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The line.
    pub(super) line: String,
    /// The switch's words.
    pub(super) words: String,
}

/// A terminal at which somebody is logged in and which shows its prompt.
pub(super) struct Session {
    switch: String,
    dialect: Dialect,
    stream: Box<dyn Line>,
    /// Keeps the connection open.
    ssh: Option<SshSession>,
    screen: Screen,
    /// The prompt outside configuring, without blanks at its end.
    prompt: String,
    /// What all prompts have in common: the switch's name.
    base: String,
    /// How many lines (that are not empty) the switch prints above each prompt.
    above: usize,
}

impl Session {
    /// Makes a shell that was just opened ready: finds its prompt, rises to where configuring is allowed, stops paging.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, `Trust` if we may not configure, `Protocol` if there is no end of what it says.
    pub(super) async fn begin(
        switch: &str,
        dialect: &Dialect,
        login: &Login,
        stream: Box<dyn Line>,
        ssh: Option<SshSession>,
        until: Instant,
    ) -> Result<Self, SwitchError> {
        let mut this = Self {
            switch: switch.to_owned(),
            dialect: *dialect,
            stream,
            ssh,
            screen: Screen::default(),
            prompt: String::new(),
            base: String::new(),
            above: 0,
        };
        this.first_prompt(until).await?;
        this.learn(until).await?;
        if let Some(command) = dialect.enable
            && !this.prompt.ends_with('#')
        {
            this.enable(command, login, until).await?;
        }
        for line in dialect.setup {
            // Not every model knows every one of them, and none of them is needed for being right.
            this.send(&[line], until).await?;
            this.wait(until, ALONE, "preparing the terminal", |it| it.is_prompt(&it.screen.last())).await?;
        }
        if !dialect.setup.is_empty() {
            this.learn(until).await?;
        }
        Ok(this)
    }

    /// Whether it answers still. What came in the meantime is forgotten.
    pub(super) async fn is_alive(&mut self) -> bool {
        if self.ssh.as_ref().is_some_and(SshSession::is_closed) {
            return false;
        }
        self.screen.wipe();
        let until = Instant::now() + ALIVE;
        let asked = self.send(&[""], until).await.is_ok();
        asked && self.wait(until, ALIVE, "looking whether it is there", Self::is_at_base).await.is_ok()
    }

    /// Runs a command outside configuring and gives its whole answer, lines parted by `\n`.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout`, `Protocol` if it says too much.
    pub(super) async fn show(&mut self, command: &str, patience: Patience) -> Result<String, SwitchError> {
        let until = Instant::now() + patience.whole;
        self.send(&[command], until).await?;
        self.wait(until, patience.quiet, patience.doing, |it| it.screen.last() == it.prompt).await?;
        self.write("\n", until).await?;
        self.wait(until, patience.quiet, patience.doing, |it| it.last_answer_end().is_some()).await?;
        let end = self.last_answer_end().unwrap_or_default();
        let lines = self.screen.lines().get(..end).unwrap_or_default();
        let answer = self.without_above(self.without_echo(lines, &[command])).join("\n");
        self.screen.wipe();
        Ok(answer)
    }

    /// Sends lines at once and waits until all were taken or refused.
    ///
    /// # Errors
    /// The outer one: nothing is known. The inner one: the first line that was refused; later ones may be in force.
    pub(super) async fn lines(
        &mut self,
        lines: &[&str],
        receipt: Option<&str>,
        patience: Patience,
    ) -> Result<Result<(), Refusal>, SwitchError> {
        let until = Instant::now() + patience.whole;
        self.send(lines, until).await?;
        let wanted = lines.len();
        let heard = self
            .wait(until, patience.quiet, patience.doing, move |it| it.is_prompt(&it.screen.last()) && it.answers().len() > wanted)
            .await;
        let answers = self.answers();
        // After a refused line the ones on their way may lead anywhere, such as out of the session.
        let known = if heard.is_ok() { lines.len() } else { answers.len().saturating_sub(1) };
        for (line, answer) in lines.iter().zip(&answers).take(known) {
            let answer = self.without_echo(answer, lines);
            let without = || receipt.filter(|receipt| !answer.iter().any(|it| it.contains(receipt))).map(|_| words(answer));
            if let Some(words) = self.refused(answer).or_else(without) {
                return Ok(Err(Refusal { line: (*line).trim().to_owned(), words }));
            }
        }
        heard?;
        // What follows the last prompt belongs to it; there is nothing, or the count of prompts was wrong.
        Ok(Ok(()))
    }

    /// Whether the terminal is outside configuring; asks it.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout`: it is not.
    pub(super) async fn settle(&mut self, patience: Patience) -> Result<(), SwitchError> {
        let until = Instant::now() + patience.whole;
        self.send(&[""], until).await?;
        self.wait(until, patience.quiet, patience.doing, Self::is_at_base).await
    }

    /// The switch's words, if this is the answer to a command that it did not take.
    pub(super) fn refused(&self, answer: &[String]) -> Option<String> {
        refused(&self.dialect, answer)
    }

    async fn first_prompt(&mut self, until: Instant) -> Result<(), SwitchError> {
        let mut nudged = false;
        let mut asked = None;
        loop {
            let likely = looks_like_prompt(&self.screen.last(), &self.dialect);
            let pause = if likely { SETTLED } else { NUDGE };
            match self.read(until.min(Instant::now() + pause), "waiting for its prompt").await {
                Ok(()) => self.answer_question(&mut asked, &mut 0, until).await?,
                Err(SwitchError::Timeout { .. }) if likely => return Ok(()),
                Err(SwitchError::Timeout { .. }) if Instant::now() < until => {
                    if !nudged {
                        self.write("\n", until).await?;
                    }
                    nudged = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Learns what the prompt is from what an empty line is answered with.
    async fn learn(&mut self, until: Instant) -> Result<(), SwitchError> {
        let mut likely = self.screen.last();
        let mut counted = None;
        for _ in 0..5 {
            self.screen.wipe();
            self.write("\n", until).await?;
            loop {
                if self.screen.last() == likely {
                    let above = self.screen.lines().iter().filter(|it| !it.is_empty() && **it != likely).count();
                    // Something else may have been said at that moment: what stands there twice belongs to the prompt.
                    if above == 0 || counted.is_some() {
                        self.above = counted.map_or(above, |it: usize| it.min(above));
                        self.base = base(&likely, &self.dialect);
                        self.prompt = likely;
                        self.screen.wipe();
                        return Ok(());
                    }
                    counted = Some(above);
                    break;
                }
                let other = looks_like_prompt(&self.screen.last(), &self.dialect);
                let pause = if other { until.min(Instant::now() + SETTLED) } else { until };
                match self.read(pause, "waiting for its prompt").await {
                    Ok(()) => {}
                    Err(SwitchError::Timeout { .. }) if other => break,
                    Err(error) => return Err(error),
                }
            }
            likely = self.screen.last();
        }
        Err(self.protocol("its prompt changes all the time"))
    }

    async fn enable(&mut self, command: &str, login: &Login, until: Instant) -> Result<(), SwitchError> {
        let before = self.prompt.clone();
        self.send(&[command], until).await?;
        let mut asked = 0;
        loop {
            let last = self.screen.last();
            let lower = last.to_lowercase();
            if lower.contains("password") && lower.ends_with(':') {
                let secret = login.enable_password.as_ref().or(login.password.as_ref());
                let Some(secret) = secret.filter(|_| asked == 0) else {
                    return Err(self.distrust("it does not let us configure: the password is not taken"));
                };
                asked += 1;
                self.screen.wipe();
                self.write(&format!("{}\n", secret.reveal()), until).await?;
            } else if looks_like_prompt(&last, &self.dialect) {
                // The old prompt is a refusal, or the echo's; the new one stays.
                match self.read(until.min(Instant::now() + SETTLED), "rising to configure").await {
                    Ok(()) => continue,
                    Err(SwitchError::Timeout { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
            self.read(until, "rising to configure").await?;
        }
        self.learn(until).await?;
        if self.dialect.prompt_ends.contains(&'#') && before.ends_with('>') && self.prompt.ends_with('>') {
            return Err(self.distrust("it does not let us configure"));
        }
        Ok(())
    }

    /// Forgets what was shown and types lines.
    async fn send(&mut self, lines: &[&str], until: Instant) -> Result<(), SwitchError> {
        self.screen.wipe();
        let mut text = String::new();
        for line in lines {
            // A line is one line, whatever was put into it.
            text.extend(line.chars().filter(|c| !c.is_control()));
            text.push('\n');
        }
        self.write(&text, until).await
    }

    async fn write(&mut self, text: &str, until: Instant) -> Result<(), SwitchError> {
        let work = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        match timeout_at(until, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => Err(self.timeout("sending a command")),
        }
    }

    /// Takes what comes next.
    async fn read(&mut self, until: Instant, doing: &'static str) -> Result<(), SwitchError> {
        let mut buffer = [0; 4 << 10];
        match timeout_at(until, self.stream.read(&mut buffer)).await {
            Ok(Ok(0)) => Err(self.unreachable("it ended the session".to_owned())),
            Ok(Ok(count)) => {
                self.screen.feed(buffer.get(..count).unwrap_or_default());
                if self.screen.is_full() { Err(self.protocol(&format!("it says more than {MOST} bytes"))) } else { Ok(()) }
            }
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => Err(self.timeout(doing)),
        }
    }

    /// Reads until `done`, at most until `until`, at most `quiet` without a word.
    async fn wait(
        &mut self,
        until: Instant,
        quiet: Duration,
        doing: &'static str,
        done: impl Fn(&Self) -> bool + Send,
    ) -> Result<(), SwitchError> {
        let mut asked = None;
        let mut questions = 0;
        loop {
            if done(self) {
                return Ok(());
            }
            self.answer_question(&mut asked, &mut questions, until).await?;
            self.read(until.min(Instant::now() + quiet), doing).await?;
        }
    }

    /// Answers the question before the cursor, if there is one and it was not answered yet.
    async fn answer_question(&mut self, asked: &mut Option<usize>, questions: &mut usize, until: Instant) -> Result<(), SwitchError> {
        let here = self.screen.lines().len();
        if *asked == Some(here) {
            return Ok(());
        }
        let last = self.screen.last().to_lowercase();
        let Some((_, answer)) = self.dialect.answers.iter().find(|(question, _)| last.contains(&question.to_lowercase())) else {
            return Ok(());
        };
        *questions += 1;
        if *questions > QUESTIONS {
            return Err(self.protocol("it asks without end"));
        }
        *asked = Some(here);
        self.write(&format!("{answer}\n"), until).await
    }

    /// Whether an empty line was answered with the prompt outside configuring.
    fn is_at_base(&self) -> bool {
        self.screen.last() == self.prompt
    }

    /// Where the answer ends that is followed by two prompts, as an index into the finished lines.
    fn last_answer_end(&self) -> Option<usize> {
        let last = self.screen.last();
        let lines = self.screen.lines();
        if last.strip_prefix(&self.prompt).is_some_and(|rest| rest.trim_start() == self.prompt) {
            return Some(lines.len());
        }
        if last != self.prompt {
            return None;
        }
        let mut above = 0;
        for (at, line) in lines.iter().enumerate().rev() {
            if *line == self.prompt {
                return Some(at);
            }
            above += usize::from(!line.is_empty());
            if above > self.above {
                return None;
            }
        }
        None
    }

    /// What was said so far, parted by prompts: one answer more than there were prompts.
    fn answers(&self) -> Vec<Vec<String>> {
        let mut out = vec![Vec::new()];
        let last = self.screen.last();
        for line in self.screen.lines().iter().map(String::as_str).chain([last.as_str()]) {
            let mut rest = line;
            let mut prompts = 0;
            while let Some(after) = self.after_prompt(rest) {
                prompts += 1;
                out.push(Vec::new());
                rest = after.trim_start();
            }
            // Behind a prompt stands the echo of the next command.
            if prompts == 0
                && !rest.is_empty()
                && let Some(answer) = out.last_mut()
            {
                answer.push(rest.to_owned());
            }
        }
        out
    }

    /// Whether all that stands there is a prompt, in whatever mode.
    fn is_prompt(&self, line: &str) -> bool {
        self.after_prompt(line).is_some_and(|mut rest| {
            while let Some(after) = self.after_prompt(rest.trim_start()) {
                rest = after;
            }
            rest.trim().is_empty()
        })
    }

    /// What stands behind the prompt that a line begins with.
    fn after_prompt<'a>(&self, line: &'a str) -> Option<&'a str> {
        if let Some(rest) = line.strip_prefix(&self.prompt) {
            return Some(rest);
        }
        if self.base.is_empty() {
            return None;
        }
        let named = line.trim_start_matches(['<', '[', '~', '*']);
        let shared: usize = named.chars().zip(self.base.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        if shared < self.base.len().min(NAME) {
            return None;
        }
        let mode = named.get(shared..)?;
        if mode.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let end = mode.find(self.dialect.prompt_ends).filter(|at| *at < PROMPT)?;
        let mut rest = mode.get(end..)?.chars();
        rest.next();
        Some(rest.as_str())
    }

    /// An answer without the lines that belong to the prompt that follows it.
    fn without_above<'a>(&self, mut lines: &'a [String]) -> &'a [String] {
        let mut above = self.above;
        while let Some((last, before)) = lines.split_last() {
            if !last.is_empty() {
                if above == 0 {
                    break;
                }
                above -= 1;
            }
            lines = before;
        }
        lines
    }

    /// An answer without the commands that the terminal showed while they were typed.
    fn without_echo<'a>(&self, lines: &'a [String], commands: &[&str]) -> &'a [String] {
        let is_echo = |line: &String| {
            let shown = self.after_prompt(line).unwrap_or(line).trim();
            shown.is_empty() || commands.iter().any(|command| command.trim() == shown)
        };
        let begin = lines.iter().take_while(|it| is_echo(it)).count();
        // What does not fit into the terminal's width is shown over itself.
        let wrapped = begin == 0 && commands.iter().any(|it| it.len() + self.prompt.len() >= WIDTH);
        lines.get(begin + usize::from(wrapped)..).unwrap_or_default()
    }

    fn unreachable(&self, reason: String) -> SwitchError {
        SwitchError::Unreachable { switch: self.switch.clone(), reason }
    }

    fn timeout(&self, doing: &'static str) -> SwitchError {
        SwitchError::Timeout { switch: self.switch.clone(), doing }
    }

    fn protocol(&self, reason: &str) -> SwitchError {
        SwitchError::Protocol { switch: self.switch.clone(), reason: reason.to_owned() }
    }

    fn distrust(&self, reason: &str) -> SwitchError {
        SwitchError::Trust { switch: self.switch.clone(), reason: reason.to_owned() }
    }
}

/// The switch's words, if this is an answer to a line that it did not take.
pub(super) fn refused(dialect: &Dialect, answer: &[String]) -> Option<String> {
    let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(&word.to_lowercase()));
    let is_refusal = |line: &String| {
        let line = line.to_lowercase();
        !has(&line, dialect.harmless) && has(&line, dialect.refusals)
    };
    answer.iter().any(is_refusal).then(|| words(answer))
}

/// An answer in one line.
fn words(answer: &[String]) -> String {
    let said = answer.iter().map(|it| it.trim()).filter(|it| !it.is_empty() && *it != "^");
    said.collect::<Vec<_>>().join("; ").chars().take(WORDS).collect()
}

/// Whether it could be the prompt of a switch of which nothing is known yet.
fn looks_like_prompt(line: &str, dialect: &Dialect) -> bool {
    line.len() <= PROMPT && line.ends_with(dialect.prompt_ends) && !line.starts_with(['%', '#', '!'])
        || dialect.prompt_ends.iter().any(|end| line.strip_suffix(*end).is_some_and(str::is_empty))
}

/// What stays of a prompt in all modes.
fn base(prompt: &str, dialect: &Dialect) -> String {
    let inner = prompt.trim_end_matches(dialect.prompt_ends).trim_start_matches(['<', '[', '~', '*']);
    inner.split(['(', ' ']).next().unwrap_or_default().to_owned()
}
