//! What was measured, as text.

use super::load::Measurement;

/// A line of the table: one operation with some clients at one or two services.
pub(crate) struct Line {
    /// What was done.
    pub(crate) operation: &'static str,
    /// With how many connections at once.
    pub(crate) clients: usize,
    /// The service measured.
    pub(crate) first: Measurement,
    /// The service beside it.
    pub(crate) second: Option<Measurement>,
}

/// The heads of the columns; the first is set to the left, the others to the right.
const HEADS: [&str; 9] = ["operation", "clients", "service", "requests/s", "p50 ms", "p99 ms", "CPU ms", "MiB", "failed"];
/// The head of what compares the two services.
const RATIOS: &str = "times as good: rate, p99, CPU";

/// The whole table, without a last line break; `names` are those of the two services.
pub(crate) fn draw(lines: &[Line], names: [&str; 2]) -> String {
    let beside = lines.iter().any(|line| line.second.is_some());
    let mut rows: Vec<Vec<String>> = vec![HEADS.iter().map(|it| (*it).to_owned()).chain(beside.then(|| RATIOS.to_owned())).collect()];
    for line in lines {
        let ratios = line.second.as_ref().map(|second| ratios(&line.first, second));
        rows.push(row(line, names[0], &line.first, ratios));
        rows.extend(line.second.as_ref().map(|second| row(line, names[1], second, None)));
    }
    columns(&rows, &[0, HEADS.len()])
}

/// Rows as columns that stand below each other; those at the `left` are set to the left, the others to the right.
pub(crate) fn columns(rows: &[Vec<String>], left: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let draw = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| if left.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(draw).collect::<Vec<_>>().join("\n")
}

fn row(line: &Line, service: &str, seen: &Measurement, ratios: Option<String>) -> Vec<String> {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let mut cells = vec![line.operation.to_owned(), line.clients.to_string(), service.to_owned()];
    cells.extend([seen.rate(), seen.percentile(50.0), seen.percentile(99.0), seen.cpu_each()].map(cell));
    cells.push(seen.memory.map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string()));
    cells.push(seen.failures.to_string());
    cells.extend(ratios);
    cells
}

/// How many times better the first is than the second: more a second, sooner, with less work.
fn ratios(first: &Measurement, second: &Measurement) -> String {
    let of = |over: Option<f64>, under: Option<f64>| match (over, under) {
        (Some(over), Some(under)) if under > 0.0 => format!("{}x", number(over / under)),
        _ => "-".to_owned(),
    };
    let rate = of(first.rate(), second.rate());
    let p99 = of(second.percentile(99.0), first.percentile(99.0));
    let cpu = of(second.cpu_each(), first.cpu_each());
    format!("{rate:>7} {p99:>7} {cpu:>7}")
}

/// A number with about three digits that count, thousands separated.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        it if it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.find('.').unwrap_or(text.len());
    let digits = text.char_indices().map(|(at, digit)| {
        let separated = at > 0 && at < whole && (whole - at).is_multiple_of(3) && !text.get(..at).unwrap_or_default().ends_with('-');
        if separated { format!(",{digit}") } else { digit.to_string() }
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn seen(milliseconds: u64, count: usize, cpu_ms: u64) -> Measurement {
        Measurement {
            latencies: vec![milliseconds * 1_000_000; count],
            elapsed: Duration::from_secs(2),
            cpu: Some(BTreeMap::from([("s".to_owned(), Duration::from_millis(cpu_ms))])),
            memory: Some(40 << 20),
            ..Measurement::default()
        }
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, wanted) in
            [(0.1234, "0.123"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12,346"), (1e6, "1,000,000"), (-5e3, "-5,000")]
        {
            assert_eq!(number(value), wanted);
        }
    }

    #[test]
    fn a_service_alone() {
        let line = Line { operation: "validate", clients: 8, first: seen(2, 100, 500), second: None };
        let wanted = "\
operation  clients  service  requests/s  p50 ms  p99 ms  CPU ms  MiB  failed
validate         8        A        50.0    2.00    2.00    5.00   40       0";
        assert_eq!(draw(&[line], ["A", "B"]), wanted);
    }

    #[test]
    fn two_services_and_how_they_compare() {
        let line = Line { operation: "show", clients: 1, first: seen(2, 100, 500), second: Some(seen(8, 10, 1000)) };
        let wanted = "\
operation  clients  service  requests/s  p50 ms  p99 ms  CPU ms  MiB  failed  times as good: rate, p99, CPU
show             1        A        50.0    2.00    2.00    5.00   40       0    10.0x   4.00x   20.0x
show             1        B        5.00    8.00    8.00     100   40       0";
        assert_eq!(draw(&[line], ["A", "B"]), wanted);
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let line = Line { operation: "show", clients: 1, first: Measurement::default(), second: Some(seen(1, 1, 0)) };
        let text = draw(&[line], ["A", "B"]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[1].matches(" -").count(), 8, "{text}");
    }
}
