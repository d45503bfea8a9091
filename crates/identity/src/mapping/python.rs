//! What of Python shows through a mapping: `str.format`, the printed form of values, and lists read back from it.

use serde_json::Value;

/// A value of the assertion that a rule takes over: one text, or a list of any other length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// A single value.
    One(String),
    /// None or several, which print as a list.
    Many(Vec<String>),
}

impl Taken {
    pub(super) fn new(mut values: Vec<String>) -> Self {
        if values.len() == 1 { values.pop().map_or(Self::Many(values), Self::One) } else { Self::Many(values) }
    }

    fn print(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::Many(list) => list_repr(list),
        }
    }
}

/// Why a template cannot be filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FormatError {
    /// It names a value that the rule does not take over.
    NoSuchValue,
    /// It is not a template, or uses more of Python's language than `{}`, `{0}`, `{0[1]}`, `{0!r}` and `{0!s}`.
    BadTemplate,
}

/// Fills `{0}`, `{1}` … as `str.format` does.
pub(super) fn format(template: &str, taken: &[Taken]) -> Result<String, FormatError> {
    let mut filled = String::with_capacity(template.len());
    let (mut rest, mut automatic, mut manual) = (template, 0_usize, false);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(at);
        filled.push_str(before);
        if let Some(tail) = tail.strip_prefix("{{") {
            filled.push('{');
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("}}") {
            filled.push('}');
            rest = tail;
        } else {
            let (field, tail) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(FormatError::BadTemplate)?;
            rest = tail;
            let (field, quoted) = match field.split_once('!') {
                None => (field, false),
                Some((field, "s")) => (field, false),
                Some((field, "r")) => (field, true),
                Some(_) => return Err(FormatError::BadTemplate),
            };
            let (number, index) = match field.split_once('[') {
                None => (field, None),
                Some((number, index)) => (number, Some(number_of(index.strip_suffix(']').ok_or(FormatError::BadTemplate)?)?)),
            };
            let number = if number.is_empty() {
                automatic += 1;
                automatic - 1
            } else {
                manual = true;
                number_of(number)?
            };
            if manual && automatic > 0 {
                return Err(FormatError::BadTemplate);
            }
            let value = taken.get(number).ok_or(FormatError::NoSuchValue)?;
            let value = match (index, value) {
                (None, value) => value.clone(),
                (Some(index), Taken::One(text)) => Taken::One(text.chars().nth(index).ok_or(FormatError::NoSuchValue)?.to_string()),
                (Some(index), Taken::Many(list)) => Taken::One(list.get(index).ok_or(FormatError::NoSuchValue)?.clone()),
            };
            filled.push_str(&match &value {
                Taken::One(text) if quoted => text_repr(text),
                value => value.print(),
            });
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn number_of(text: &str) -> Result<usize, FormatError> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FormatError::BadTemplate);
    }
    text.parse().map_err(|_| FormatError::BadTemplate)
}

/// The number at the start of `{0}` or `0`, by which version 3.0 names a whole value.
pub(super) fn leading_index(text: &str) -> Option<usize> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    number_of(text.get(..digits)?).ok()
}

/// `['a', 'b']`.
pub(super) fn list_repr(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|it| text_repr(it)).collect();
    format!("[{}]", items.join(", "))
}

fn text_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if letter == quote => shown.extend(['\\', quote]),
            _ if letter.is_control() || is_unprintable(letter) => {
                let code = u32::from(letter);
                shown.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
            _ => shown.push(letter),
        }
    }
    shown.push(quote);
    shown
}

/// Separators, formatting characters and private use, which Python escapes.
fn is_unprintable(letter: char) -> bool {
    (letter != ' ' && letter.is_whitespace())
        || matches!(u32::from(letter), 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xf_0000..)
}

/// A JSON value as Python prints it.
pub(super) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_repr(text),
        Value::Array(list) => format!("[{}]", list.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| format!("{}: {}", text_repr(key), repr(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The texts of `['a', "b"]`; any other text stands for itself, as a list of one.
pub(super) fn literal_list(text: &str) -> Vec<String> {
    Reader(text.trim_start_matches([' ', '\t'])).list().unwrap_or_else(|| vec![text.to_owned()])
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn take(&mut self, letter: char) -> bool {
        self.space();
        self.0.strip_prefix(letter).is_some_and(|rest| {
            self.0 = rest;
            true
        })
    }

    fn next(&mut self) -> Option<char> {
        let mut letters = self.0.chars();
        let letter = letters.next();
        self.0 = letters.as_str();
        letter
    }

    fn list(&mut self) -> Option<Vec<String>> {
        if !self.take('[') {
            return None;
        }
        let mut items = Vec::new();
        while !self.take(']') {
            if !items.is_empty() && !self.take(',') {
                return None;
            }
            // A comma may follow the last item.
            if !items.is_empty() && self.take(']') {
                break;
            }
            items.push(self.item()?);
        }
        self.space();
        self.0.is_empty().then_some(items)
    }

    /// One or more adjacent string literals.
    fn item(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut literals = 0;
        loop {
            let quote = if self.take('\'') {
                '\''
            } else if self.take('"') {
                '"'
            } else {
                return (literals > 0).then_some(text);
            };
            literals += 1;
            loop {
                match self.next()? {
                    letter if letter == quote => break,
                    '\n' => return None,
                    '\\' => self.escape(&mut text)?,
                    letter => text.push(letter),
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let letter = self.next()?;
        let hex = |digits: usize, reader: &mut Self| {
            let code = reader.0.get(..digits).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            let letter = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            reader.0 = reader.0.get(digits..)?;
            Some(letter)
        };
        match letter {
            '\\' | '\'' | '"' => text.push(letter),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'v' => text.push('\x0b'),
            '\n' => {}
            'x' => text.push(hex(2, self)?),
            'u' => text.push(hex(4, self)?),
            'U' => text.push(hex(8, self)?),
            // Octal digits and names of characters are never printed by Python.
            '0'..='7' | 'N' => return None,
            other => text.extend(['\\', other]),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn many(list: &[&str]) -> Taken {
        Taken::new(list.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn templates() {
        let taken = [many(&["Bob"]), many(&["a", "b'c"]), many(&[])];
        for (template, expected) in [
            ("{0} {0}", "Bob Bob"),
            ("x{{0}}", "x{0}"),
            ("{1}", "['a', \"b'c\"]"),
            ("{2}", "[]"),
            ("{} {}", "Bob ['a', \"b'c\"]"),
            ("{1[1]}", "b'c"),
            ("{0[1]}", "o"),
            ("{0!r}", "'Bob'"),
            ("plain", "plain"),
        ] {
            assert_eq!(format(template, &taken).as_deref(), Ok(expected), "{template}");
        }
        for (template, error) in [
            ("{3}", FormatError::NoSuchValue),
            ("{0[9]}", FormatError::NoSuchValue),
            ("{name}", FormatError::BadTemplate),
            ("{0", FormatError::BadTemplate),
            ("0}", FormatError::BadTemplate),
            ("{0.x}", FormatError::BadTemplate),
            ("{0:>9}", FormatError::BadTemplate),
            ("{}{0}", FormatError::BadTemplate),
        ] {
            assert_eq!(format(template, &taken), Err(error), "{template}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(literal_list("['a', \"b'c\", 'd' 'e',]"), ["a", "b'c", "de"]);
        assert_eq!(literal_list("[]"), Vec::<String>::new());
        for plain in ["a", "[a]", "['a'", "['a' 1]", "[,]", "['a'] x", "123", "['a',,]", ""] {
            assert_eq!(literal_list(plain), [plain]);
        }
    }

    proptest! {
        #[test]
        fn printed_lists_are_read_back(list in proptest::collection::vec(any::<String>(), 0..6)) {
            prop_assert_eq!(literal_list(&list_repr(&list)), list);
        }

        #[test]
        fn nothing_panics(template in any::<String>(), noise in "[\\[\\]'\",\\\\xuU0-9a-f{}! ]{0,30}") {
            let taken = [many(&["ä"]), many(&["ä", "b"])];
            let _ = (format(&template, &taken), format(&noise, &taken), literal_list(&template), literal_list(&noise), leading_index(&noise));
        }
    }
}
