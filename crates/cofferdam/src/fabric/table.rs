//! Answers as tables and lists of lines.

use serde_json::Value;

/// A value as it stands in a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(_) => usage(value).unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// What a port carries, in words.
fn usage(value: &Value) -> Option<String> {
    let list = |name: &str| value.get(name).map(cell).unwrap_or_default();
    Some(match value.get("mode")?.as_str()? {
        "access" => format!("access {}", list("vlan")),
        "trunk" => format!("trunk {} native {}", list("tagged"), list("native")),
        "member" => format!("member of {}", list("lag")),
        other => other.to_owned(),
    })
}

/// Columns of a list: field and heading. Cells have no line breaks.
pub(super) fn table(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|(_, heading)| (*heading).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| {
        columns.iter().map(|(field, _)| cell(row.get(*field).unwrap_or(&Value::Null)).replace(['\n', '\r', '\t'], " ")).collect()
    }));
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|it| it.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// All fields of one thing, a line each; lists of texts have a line each too.
pub(super) fn fields(one: &Value) -> String {
    let mut out = String::new();
    for (name, value) in one.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) if items.len() > 1 && items.iter().all(|it| it.as_str().is_some_and(|text| text.contains(' '))) => {
                out.push_str(&format!("{name}:\n"));
                for it in items {
                    out.push_str(&format!("  {}\n", cell(it)));
                }
            }
            other => out.push_str(&format!("{name}: {}\n", cell(other).trim_end().replace('\n', "\n  "))),
        }
    }
    out
}

/// The list below a root of an answer.
pub(super) fn list<'a>(answer: &'a Value, root: &str) -> &'a [Value] {
    answer.get(root).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text of a field.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = [json!({"a": "x", "b": null}), json!({"a": "longer", "b": [1, 2], "c": 3}), json!({"b": {"mode": "access", "vlan": 7}})];
        assert_eq!(table(&rows, &[("a", "NAME"), ("b", "B")]), "NAME    B\nx       -\nlonger  1,2\n-       access 7\n");
        let trunk = json!({"mode": "trunk", "native": null, "tagged": [5, 6]});
        assert_eq!(cell(&trunk), "trunk 5,6 native -");
    }

    #[test]
    fn one_thing_is_told_in_lines() {
        let one = json!({"name": "leaf1", "differences": ["port a is x", "port b is y"], "vlans": [1, 2]});
        assert_eq!(fields(&one), "differences:\n  port a is x\n  port b is y\nname: leaf1\nvlans: 1,2\n");
    }
}
