//! From text to checks.
//!
//! The language is that of oslo.policy's `_parser`: words divided by white space, parentheses at the edges of words,
//! `and` before `or`, `not` before both. Where that parser falls back to "never", this one reports an error.

use crate::{Check, ParseError, Template, python};

/// The most bytes of one rule.
pub(crate) const MAX_TEXT: usize = 64 * 1024;
/// How deep parentheses and `not` may be nested: the parser, and all that walks a check, recurses once for each.
pub(crate) const MAX_NESTING: usize = 64;

/// Reads a rule; the empty text is "always".
///
/// # Errors
/// Text that is not in the language, names what and why.
pub fn parse(text: &str) -> Result<Check, ParseError> {
    if text.is_empty() {
        return Ok(Check::True);
    }
    if text.len() > MAX_TEXT {
        return Err(ParseError::Long { limit: MAX_TEXT });
    }
    let words = words(text)?;
    if words.is_empty() {
        return Err(ParseError::Blank);
    }
    let mut parser = Parser { words: words.into_iter().peekable(), depth: 0 };
    let check = parser.either()?;
    match parser.words.next() {
        None => Ok(check),
        Some(word) => Err(ParseError::Unexpected { found: word.text(), wanted: "\"and\", \"or\" or the end has to follow" }),
    }
}

/// Reads the older form, a list of lists: one of the outer has to hold, and of an inner all. A text in the outer list
/// stands for an inner list of one. No list at all is "always", only empty inner lists are "never".
///
/// # Errors
/// As [`parse`].
pub fn parse_lists<S: AsRef<str>>(lists: &[Vec<S>]) -> Result<Check, ParseError> {
    if lists.is_empty() {
        return Ok(Check::True);
    }
    let mut total = 0_usize;
    let mut any = Vec::new();
    for list in lists.iter().filter(|list| !list.is_empty()) {
        let mut all = Vec::new();
        for text in list {
            let text = text.as_ref();
            total = total.saturating_add(text.len());
            if total > MAX_TEXT {
                return Err(ParseError::Long { limit: MAX_TEXT });
            }
            all.push(one(text)?);
        }
        any.push(sole(all, Check::And));
    }
    Ok(if any.is_empty() { Check::False } else { sole(any, Check::Or) })
}

/// The only check of a list, or all of them as one.
fn sole(mut checks: Vec<Check>, list: fn(Vec<Check>) -> Check) -> Check {
    match (checks.pop(), checks.is_empty()) {
        (Some(check), true) => check,
        (last, _) => {
            checks.extend(last);
            list(checks)
        }
    }
}

#[derive(Debug)]
enum Word {
    Open,
    Close,
    And,
    Or,
    Not,
    Check(Check),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::And => "and".to_owned(),
            Self::Or => "or".to_owned(),
            Self::Not => "not".to_owned(),
            Self::Check(check) => check.to_string(),
        }
    }
}

/// White space as Python's `\s` has it: Unicode's, and the four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn words(text: &str) -> Result<Vec<Word>, ParseError> {
    let mut words = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let inner = word.trim_start_matches('(');
        words.extend((0..word.len() - inner.len()).map(|_| Word::Open));
        if inner.is_empty() {
            continue;
        }
        let clean = inner.trim_end_matches(')');
        match clean {
            "" => {}
            _ if clean.eq_ignore_ascii_case("and") => words.push(Word::And),
            _ if clean.eq_ignore_ascii_case("or") => words.push(Word::Or),
            _ if clean.eq_ignore_ascii_case("not") => words.push(Word::Not),
            // With a parenthesis behind it the library takes the same text for a check.
            _ if is_quoted(inner) => {
                return Err(ParseError::Unexpected { found: inner.to_owned(), wanted: "a quoted text alone is no check" });
            }
            _ => words.push(Word::Check(one(clean)?)),
        }
        words.extend((0..inner.len() - clean.len()).map(|_| Word::Close));
    }
    Ok(words)
}

fn is_quoted(word: &str) -> bool {
    word.len() >= 2 && ['\'', '"'].iter().any(|quote| word.starts_with(*quote) && word.ends_with(*quote))
}

struct Parser {
    words: std::iter::Peekable<std::vec::IntoIter<Word>>,
    depth: usize,
}

impl Parser {
    fn either(&mut self) -> Result<Check, ParseError> {
        let mut checks = vec![self.both()?];
        while self.words.next_if(|word| matches!(word, Word::Or)).is_some() {
            checks.push(self.both()?);
        }
        Ok(sole(checks, Check::Or))
    }

    fn both(&mut self) -> Result<Check, ParseError> {
        let mut checks = vec![self.single()?];
        while self.words.next_if(|word| matches!(word, Word::And)).is_some() {
            checks.push(self.single()?);
        }
        Ok(sole(checks, Check::And))
    }

    fn single(&mut self) -> Result<Check, ParseError> {
        match self.words.next() {
            Some(Word::Check(check)) => Ok(check),
            Some(Word::Not) => {
                self.deeper()?;
                let check = self.single()?;
                self.depth -= 1;
                Ok(Check::Not(Box::new(check)))
            }
            Some(Word::Open) => {
                self.deeper()?;
                let check = self.either()?;
                self.depth -= 1;
                match self.words.next() {
                    Some(Word::Close) => Ok(check),
                    Some(word) => Err(ParseError::Unexpected { found: word.text(), wanted: "\"and\", \"or\" or \")\" has to follow" }),
                    None => Err(ParseError::Unfinished),
                }
            }
            Some(word) => Err(ParseError::Unexpected { found: word.text(), wanted: "a check has to follow" }),
            None => Err(ParseError::Unfinished),
        }
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_NESTING { Err(ParseError::Deep { limit: MAX_NESTING }) } else { Ok(()) }
    }
}

/// Reads one check: `@`, `!` or `kind:match`.
fn one(text: &str) -> Result<Check, ParseError> {
    match text {
        "@" => return Ok(Check::True),
        "!" => return Ok(Check::False),
        _ => {}
    }
    let (kind, right) = text.split_once(':').ok_or_else(|| ParseError::NotACheck(text.to_owned()))?;
    match kind {
        "http" | "https" => Err(ParseError::Remote(kind.to_owned())),
        "rule" => Ok(Check::Rule(right.to_owned())),
        "role" => Ok(Check::Role(Template::parse(right)?)),
        _ => {
            let text = Template::parse(right)?;
            match literal(kind)? {
                Some(value) => Ok(Check::Literal { source: kind.to_owned(), value, text }),
                None if is_path(kind) => Ok(Check::Attribute { name: kind.to_owned(), text }),
                None => Err(wrong(kind, "is neither a literal nor the name of an attribute")),
            }
        }
    }
}

fn wrong(left: &str, why: &'static str) -> ParseError {
    ParseError::Left { left: left.to_owned(), why }
}

/// Names divided by dots, none of which begins with a digit.
fn is_path(text: &str) -> bool {
    text.split('.').all(|name| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    })
}

/// The text a Python literal stands for under `str()`; none if it is not one.
fn literal(source: &str) -> Result<Option<String>, ParseError> {
    match source {
        "True" | "False" | "None" => return Ok(Some(source.to_owned())),
        _ => {}
    }
    if let Some(quote) = source.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        return string(source, quote).map(Some);
    }
    let digits = source.strip_prefix(['-', '+']).unwrap_or(source);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') { number(source).map(Some) } else { Ok(None) }
}

fn string(source: &str, quote: char) -> Result<String, ParseError> {
    let inner = source.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let inner = inner.ok_or_else(|| wrong(source, "is a text whose closing quote is missing (the first colon ends the left side)"))?;
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | '\'' | '"')) => value.push(c),
                _ => return Err(wrong(source, "has an escape other than \\\\, \\' and \\\"")),
            },
            c if c == quote => return Err(wrong(source, "has its quote inside")),
            c => value.push(c),
        }
    }
    Ok(value)
}

fn number(source: &str) -> Result<String, ParseError> {
    let wrong = || wrong(source, "is not a decimal number");
    let (minus, digits) = match source.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, source.strip_prefix('+').unwrap_or(source)),
    };
    // An underscore is allowed between two digits only.
    let tidy = !digits.split('_').any(str::is_empty)
        && digits.split('_').collect::<Vec<_>>().windows(2).all(|pair| match pair {
            [left, right] => left.ends_with(|c: char| c.is_ascii_digit()) && right.starts_with(|c: char| c.is_ascii_digit()),
            _ => false,
        });
    let plain = digits.replace('_', "");
    if !tidy || !plain.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+')) {
        return Err(wrong());
    }
    if plain.chars().all(|c| c.is_ascii_digit()) {
        let significant = plain.trim_start_matches('0');
        return match (significant, minus) {
            ("", _) => Ok("0".to_owned()),
            // 007 is an error in Python as well.
            _ if significant.len() != plain.len() => Err(wrong()),
            (_, true) => Ok(format!("-{plain}")),
            (_, false) => Ok(plain),
        };
    }
    let value: f64 = plain.parse().map_err(|_not_a_number| wrong())?;
    Ok(python::float(if minus { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match parse(text) {
            Ok(check) => check.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn precedence_and_parentheses() {
        for (text, expected) in [
            ("", "@"),
            ("@", "@"),
            (" ! ", "!"),
            ("role:a AND role:b Or role:c", "(role:a and role:b) or role:c"),
            ("role:a or role:b and not role:c", "role:a or (role:b and not role:c)"),
            ("not (role:a or (role:b))", "not (role:a or role:b)"),
            ("((role:a)and role:b)", "error: \"(role:a)and\""),
            ("( role:a and(role:b))", "error: \"and(role:b\" "),
            ("not not user_id:%(target.user.id)s", "not not user_id:%(target.user.id)s"),
            ("('a':'b')", "('a':'b')"),
            ("rule:a:b", "rule:a:b"),
        ] {
            let shown = show(text);
            if let Some(error) = expected.strip_prefix("error: ") {
                assert!(shown.starts_with("error: "), "{text}: {shown}, expected an error for {error}");
            } else {
                assert_eq!(shown, expected, "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read() {
        for text in [
            " ",
            "role",
            "and",
            "role:a and",
            "role:a role:b",
            "(role:a",
            "role:a)",
            "()",
            "not",
            "role:a or or role:b",
            "'a':'b'",
            "\"x\"",
            ":x",
            "a b:c",
            "'a:%(x)s",
            "'a'b':c",
            "'\\n':c",
            "0x10:c",
            "007:c",
            "1_:c",
            "1__0:c",
            ".:c",
            "a..b:c",
            "1a:c",
            "[]:c",
            "a:%",
            "a:%(b)d",
            "a:100%",
            "http://host/%(x)s",
            "https://host/",
            "user_id:%(a)",
            "(1,):c",
            "--1:c",
            "1e:c",
        ] {
            assert!(parse(text).is_err(), "{text:?} was read as {}", show(text));
        }
    }

    #[test]
    fn literals_as_python_writes_them() {
        for (left, value) in [
            ("'a'", "a"),
            ("\"it's\"", "it's"),
            ("'it\\'s'", "it's"),
            ("''", ""),
            ("True", "True"),
            ("None", "None"),
            ("1", "1"),
            ("-1", "-1"),
            ("+1", "1"),
            ("-0", "0"),
            ("00", "0"),
            ("1_000", "1000"),
            ("1.50", "1.5"),
            ("-1.", "-1.0"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("1E+20", "1e+20"),
            ("1e-5", "1e-05"),
        ] {
            match one(&format!("{left}:x")) {
                Ok(Check::Literal { value: read, .. }) => assert_eq!(read, value, "{left}"),
                other => panic!("{left}: {other:?}"),
            }
        }
    }

    #[test]
    fn lists_of_lists() {
        let show = |lists: &[&[&str]]| {
            let lists: Vec<Vec<&str>> = lists.iter().map(|list| list.to_vec()).collect();
            parse_lists(&lists).map(|check| check.to_string())
        };
        assert_eq!(show(&[]).as_deref(), Ok("@"));
        assert_eq!(show(&[&[]]).as_deref(), Ok("!"));
        assert_eq!(show(&[&[], &["role:a"]]).as_deref(), Ok("role:a"));
        assert_eq!(show(&[&["role:a", "role:b"], &["role:c"]]).as_deref(), Ok("(role:a and role:b) or role:c"));
        assert_eq!(parse_lists(&[vec!["role:Project Manager"]]), Ok(Check::Role(Template::parse("Project Manager").unwrap())));
        assert!(show(&[&[""]]).is_err());
        assert!(show(&[&["role:a", "nonsense"]]).is_err());
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        assert_eq!(parse(&"(".repeat(60_000)), Err(ParseError::Deep { limit: MAX_NESTING }));
        assert_eq!(parse(&"not ".repeat(16_000)), Err(ParseError::Deep { limit: MAX_NESTING }));
        assert_eq!(parse(&"x".repeat(MAX_TEXT + 1)), Err(ParseError::Long { limit: MAX_TEXT }));
        assert!(parse(&format!("{}role:a{}", "(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING))).is_ok());
        assert!(parse(&["role:a"; 5000].join(" and ")).is_ok());
    }
}
