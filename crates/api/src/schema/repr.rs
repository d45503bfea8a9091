//! Values in Python's notation, as complaints quote them.

use std::fmt::Write as _;

use serde_json::Value;

/// What stands for a secret.
pub(super) const MASK: &str = "'***'";

/// Longest a quoted value gets, in bytes.
const LONGEST: usize = 1024;

/// Whether what is under this name must not be shown. The option `lock_password` is none.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.ends_with("password") && name != "lock_password")
        || name.contains("secret")
        || matches!(name.as_str(), "blob" | "passcode" | "token" | "signature")
}

/// At most [`LONGEST`] bytes of a text.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let mut end = LONGEST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A value as `repr()` shows it, without the secrets in it, and not at any length.
pub(super) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    cut(out)
}

/// A text as `repr()` shows it.
pub(super) fn text_repr(text: &str) -> String {
    let mut out = String::new();
    write_text(&mut out, text);
    cut(out)
}

/// A list of words as `repr()` shows it.
pub(super) fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| text_repr(word)).collect();
    format!("[{}]", words.join(", "))
}

fn write_value(out: &mut String, value: &Value) {
    // Nobody is shown the rest.
    if out.len() > LONGEST {
        return;
    }
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => write_float(out, float),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (place, (key, item)) in map.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                write_text(out, key);
                out.push_str(": ");
                match is_secret(key) && !item.is_null() {
                    true => out.push_str(MASK),
                    false => write_value(out, item),
                }
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        if out.len() > LONGEST {
            break;
        }
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _infallible = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Whether Python prints the character: `escape_debug` agrees but for combining ones, which it escapes where a text begins with them.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default();
    text.escape_debug().nth(1) != Some('\\')
}

fn write_float(out: &mut String, float: f64) {
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        let _infallible = write!(out, "{digits}e{sign}{exponent:0>2}");
    } else {
        let _infallible = write!(out, "{float:?}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{repr, text_repr};

    #[test]
    fn quotes_as_python_does() {
        // Source: repr() of Python 3.11.
        assert_eq!(repr(&json!([null, true, false, 3, -1.0, 1e16, 1.5e-7, 0.1])), "[None, True, False, 3, -1.0, 1e+16, 1.5e-07, 0.1]");
        assert_eq!(repr(&json!({"a": {"b": "c"}})), "{'a': {'b': 'c'}}");
        assert_eq!(text_repr("it's"), "\"it's\"");
        assert_eq!(text_repr("it's \"so\""), r#"'it\'s "so"'"#);
        assert_eq!(text_repr("a\\b\n\t\u{7f}\u{e9}\u{200b}\u{1f600}e\u{301}\u{a0}"), "'a\\\\b\\n\\t\\x7fé\\u200b😀e\u{301}\\xa0'");
    }

    #[test]
    fn shows_no_secret_and_no_end() {
        let shown = repr(&json!({"user": {"password": "hunter2", "name": "eve"}, "identity": {"token": {"id": "hunter2"}}}));
        assert!(!shown.contains("hunter2") && shown.contains("'eve'"), "{shown}");
        assert!(repr(&json!(vec!["long"; 9000])).len() < 1100);
    }
}
