//! Who reached whom, who should have, and who must not: pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Machine,
    Container,
}

/// One end of the measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As shown: `finance/m1`, `finance/m1/web.1`, `-/m5`.
    pub(crate) label: String,
    pub(crate) kind: Kind,
    /// Whose it is, by the APIs; `None` for what is nobody's.
    pub(crate) tenant: Option<String>,
    /// Its Neutron port, of machines in use.
    pub(crate) port: Option<String>,
}

/// How a packet travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// An Ethernet frame to the other's hardware address or to all.
    L2,
    /// A UDP datagram to the other's address.
    Udp,
    /// A TCP connection to the other's service that was answered with its line.
    Service,
}

impl Way {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Udp => "udp",
            Self::Service => "service",
        }
    }
}

/// What was measured from one place to another in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Index of the sender.
    pub(crate) from: usize,
    /// Index of the receiver.
    pub(crate) to: usize,
    pub(crate) way: Way,
    /// Packets sent, or connections tried.
    pub(crate) sent: u64,
    /// How many of them the receiver got.
    pub(crate) received: u64,
}

/// What is true of an ordered pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The same place.
    Itself,
    /// Same tenant, and it got through.
    Reached,
    /// Same tenant, and it did not get through.
    Missing,
    /// Different tenants, and nothing got through.
    Silent,
    /// Different tenants, and something got through, in these ways.
    Leak(Vec<Way>),
    /// Nothing was sent: nothing is known, which is no success.
    Unmeasured,
}

impl Cell {
    /// As shown in the matrix.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Itself => "",
            Self::Reached => "yes",
            Self::Missing => "NO",
            Self::Silent => "·",
            Self::Leak(_) => "LEAK",
            Self::Unmeasured => "?",
        }
    }

    /// Whether it is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Itself | Self::Reached | Self::Silent)
    }
}

/// What is said of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TenantVerdict {
    pub(crate) tenant: String,
    /// Nothing got in or out, everything within works, and all of it was measured.
    pub(crate) good: bool,
    /// The whole line.
    pub(crate) line: String,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Row: from; column: to.
    pub(crate) cells: Vec<Vec<Cell>>,
    /// In the order of first appearance.
    pub(crate) tenants: Vec<TenantVerdict>,
    /// Everything expected works, and nothing else got through.
    pub(crate) good: bool,
}

impl Verdict {
    /// Whether anything got through that must not.
    pub(crate) fn has_leak(&self) -> bool {
        self.cells.iter().flatten().any(|cell| matches!(cell, Cell::Leak(_)))
    }
}

/// The ways that count as reaching, by what the two ends are. One of them suffices.
fn expected(from: Kind, to: Kind) -> &'static [Way] {
    match (from, to) {
        (Kind::Machine, Kind::Machine) => &[Way::L2, Way::Udp],
        (Kind::Container, Kind::Container) => &[Way::Udp, Way::Service],
        (Kind::Container, Kind::Machine) => &[Way::Udp],
        (Kind::Machine, Kind::Container) => &[Way::Service],
    }
}

/// Whether everything between two places of one tenant is expected to work, and nothing between any other two.
fn together(a: &Place, b: &Place) -> bool {
    a.tenant.is_some() && a.tenant == b.tenant
}

/// Judges the measurements. Of the matrix of all ordered pairs none may be left out.
pub(crate) fn evaluate(places: &[Place], samples: &[Sample]) -> Verdict {
    let mut by_pair: BTreeMap<(usize, usize), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_pair.entry((sample.from, sample.to)).or_default().push(sample);
    }
    let of = |from: usize, to: usize| by_pair.get(&(from, to)).map_or(&[][..], Vec::as_slice);
    let mut cells = Vec::with_capacity(places.len());
    for (from, source) in places.iter().enumerate() {
        let row = places.iter().enumerate().map(|(to, target)| if from == to { Cell::Itself } else { judge(source, target, of(from, to)) });
        cells.push(row.collect::<Vec<Cell>>());
    }
    let names: Vec<&String> = places.iter().filter_map(|it| it.tenant.as_ref()).collect();
    let mut seen = BTreeSet::new();
    let mut tenants: Vec<TenantVerdict> = Vec::new();
    for name in names.into_iter().filter(|name| seen.insert(*name)) {
        tenants.push(judge_tenant(name, places, &cells, samples));
    }
    let all_cells_good = cells.iter().flatten().all(Cell::is_good);
    let good = all_cells_good && !tenants.is_empty() && tenants.iter().all(|it| it.good);
    Verdict { cells, tenants, good }
}

fn judge(source: &Place, target: &Place, samples: &[&Sample]) -> Cell {
    if together(source, target) {
        let ways = expected(source.kind, target.kind);
        let relevant = || samples.iter().filter(|it| ways.contains(&it.way));
        return if relevant().any(|it| it.received > 0) {
            Cell::Reached
        } else if relevant().any(|it| it.sent > 0) {
            Cell::Missing
        } else {
            Cell::Unmeasured
        };
    }
    let through: BTreeSet<Way> = samples.iter().filter(|it| it.received > 0).map(|it| it.way).collect();
    if !through.is_empty() {
        return Cell::Leak(through.into_iter().collect());
    }
    if samples.iter().any(|it| it.sent > 0) { Cell::Silent } else { Cell::Unmeasured }
}

fn judge_tenant(name: &str, places: &[Place], cells: &[Vec<Cell>], samples: &[Sample]) -> TenantVerdict {
    let is_mine = |index: usize| places.get(index).is_some_and(|it| it.tenant.as_deref() == Some(name));
    let label = |index: usize| places.get(index).map_or("?", |it| it.label.as_str());
    let (mut crossing, mut within, mut reached) = (0_usize, 0_usize, 0_usize);
    let mut leaks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut missing, mut unmeasured) = (Vec::new(), Vec::new());
    for (from, row) in cells.iter().enumerate() {
        for (to, cell) in row.iter().enumerate() {
            if from == to || !(is_mine(from) || is_mine(to)) {
                continue;
            }
            let inside = is_mine(from) && is_mine(to);
            if inside {
                within += 1;
            } else {
                crossing += 1;
            }
            let pair = || format!("{} -> {}", label(from), label(to));
            match cell {
                Cell::Reached => reached += 1,
                Cell::Missing => missing.push(pair()),
                Cell::Unmeasured => unmeasured.push(pair()),
                Cell::Leak(ways) => {
                    let other = places.get(if is_mine(from) { to } else { from }).and_then(|it| it.tenant.clone());
                    let ways: Vec<&str> = ways.iter().map(|way| way.as_str()).collect();
                    leaks.entry(other.unwrap_or_else(|| "nobody's machine".into())).or_default().push(format!(
                        "{} ({})",
                        pair(),
                        ways.join(", ")
                    ));
                }
                Cell::Itself | Cell::Silent => {}
            }
        }
    }
    let packets: u64 = samples.iter().filter(|it| it.from != it.to && is_mine(it.from) != is_mine(it.to)).map(|it| it.sent).sum();
    let mut parts = Vec::new();
    for (other, pairs) in &leaks {
        parts.push(format!("LEAKING to {other}: {}", pairs.join("; ")));
    }
    if !missing.is_empty() {
        parts.push(format!("does not reach its own: {}", missing.join("; ")));
    }
    if !unmeasured.is_empty() {
        parts.push(format!("not measured: {}", unmeasured.join("; ")));
    }
    let nobody = crossing == 0 || within == 0;
    if nobody {
        parts.push("too few places to measure anything".into());
    }
    let good = parts.is_empty();
    if good {
        parts.push(format!(
            "isolated ({crossing} pairs, {packets} packets to and from others, none arrived; {reached} of {within} pairs of its own work)"
        ));
    }
    TenantVerdict { tenant: name.to_owned(), good, line: format!("{name}: {}", parts.join(". ")) }
}

/// Draws the matrix: rows send, columns receive, columns by number. `paint` colours a word by whether it is good.
pub(crate) fn draw(places: &[Place], verdict: &Verdict, paint: impl Fn(bool, &str) -> String) -> String {
    let width = places.iter().map(|it| it.label.chars().count()).max().unwrap_or_default();
    let digits = places.len().to_string().len();
    let mut lines = Vec::with_capacity(places.len() + 1);
    let header: String = (1..=places.len()).map(|number| format!("{number:>5}")).collect();
    lines.push(format!("  {:digits$} {:width$}{header}", "", "from \\ to"));
    for (index, (place, row)) in places.iter().zip(&verdict.cells).enumerate() {
        let mut line = format!("  {:>digits$} {:width$}", index + 1, place.label);
        for cell in row {
            let word = if *cell == Cell::Itself { "-" } else { cell.as_str() };
            // Padded before it is coloured: colours have no width.
            let padded = format!("{word:>5}");
            line.push_str(&if cell.is_good() { padded } else { paint(false, &padded) });
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(label: &str, kind: Kind) -> Place {
        let tenant = label.split('/').next().filter(|it| *it != "-").map(str::to_owned);
        Place { label: label.into(), kind, tenant, port: None }
    }

    fn world() -> Vec<Place> {
        vec![
            place("finance/m1", Kind::Machine),
            place("finance/m2", Kind::Machine),
            place("finance/m1/web.1", Kind::Container),
            place("medical/m3", Kind::Machine),
            place("medical/m4", Kind::Machine),
        ]
    }

    /// Everything was sent in every way, and what should have arrived did.
    fn good(places: &[Place]) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (from, a) in places.iter().enumerate() {
            for (to, b) in places.iter().enumerate().filter(|(to, _)| *to != from) {
                for way in [Way::L2, Way::Udp, Way::Service] {
                    let arrives = together(a, b) && expected(a.kind, b.kind).contains(&way);
                    samples.push(Sample { from, to, way, sent: 3, received: if arrives { 3 } else { 0 } });
                }
            }
        }
        samples
    }

    fn set(samples: &mut [Sample], from: usize, to: usize, way: Way, received: u64) {
        samples.iter_mut().find(|it| it.from == from && it.to == to && it.way == way).unwrap().received = received;
    }

    #[test]
    fn what_is_isolated_and_works_is_good() {
        let places = world();
        let verdict = evaluate(&places, &good(&places));
        assert!(verdict.good, "{verdict:?}");
        assert_eq!(
            verdict.tenants[0].line,
            "finance: isolated (12 pairs, 108 packets to and from others, none arrived; 6 of 6 pairs of its own work)"
        );
        assert_eq!(verdict.tenants[1].tenant, "medical");
    }

    #[test]
    fn one_packet_to_another_tenant_is_a_leak_whatever_the_way() {
        let places = world();
        for way in [Way::L2, Way::Udp, Way::Service] {
            let mut samples = good(&places);
            set(&mut samples, 0, 3, way, 1);
            let verdict = evaluate(&places, &samples);
            assert!(!verdict.good && verdict.has_leak());
            assert_eq!(verdict.cells[0][3], Cell::Leak(vec![way]));
            samples.extend(good(&places));
            assert!(evaluate(&places, &samples).has_leak(), "measuring again does not make it unseen");
            assert!(
                verdict.tenants[0].line.starts_with("finance: LEAKING to medical: finance/m1 -> medical/m3"),
                "{}",
                verdict.tenants[0].line
            );
            assert!(
                verdict.tenants[1].line.starts_with("medical: LEAKING to finance: finance/m1 -> medical/m3"),
                "{}",
                verdict.tenants[1].line
            );
        }
    }

    #[test]
    fn a_missing_reach_fails() {
        let places = world();
        let mut samples = good(&places);
        set(&mut samples, 0, 1, Way::Udp, 0);
        assert!(evaluate(&places, &samples).good, "frames suffice between machines");
        set(&mut samples, 0, 1, Way::L2, 0);
        let verdict = evaluate(&places, &samples);
        assert!(!verdict.good);
        assert_eq!(verdict.cells[0][1], Cell::Missing);
        assert!(!verdict.has_leak());
        let twice: Vec<Sample> = samples.iter().cloned().chain(good(&places)).collect();
        assert!(evaluate(&places, &twice).good, "it arrived the second time");
        assert!(verdict.tenants[0].line.contains("finance/m1 -> finance/m2"), "{}", verdict.tenants[0].line);
        assert!(verdict.tenants[1].good);
    }

    #[test]
    fn a_container_is_reached_only_by_its_service() {
        let places = world();
        let mut samples = good(&places);
        set(&mut samples, 1, 2, Way::Service, 0);
        set(&mut samples, 1, 2, Way::L2, 3);
        assert_eq!(evaluate(&places, &samples).cells[1][2], Cell::Missing);
    }

    #[test]
    fn what_was_not_measured_is_not_isolated() {
        let places = world();
        let samples: Vec<Sample> = good(&places).into_iter().filter(|it| (it.from, it.to) != (3, 0)).collect();
        let verdict = evaluate(&places, &samples);
        assert!(!verdict.good);
        assert_eq!(verdict.cells[3][0], Cell::Unmeasured);
        assert!(verdict.tenants.iter().all(|it| !it.good && it.line.contains("not measured")));
        assert!(!evaluate(&places, &[]).good);
        assert!(!evaluate(&[], &[]).good);
    }

    #[test]
    fn a_machine_of_nobody_may_reach_no_one() {
        let mut places = world();
        places.push(place("-/m5", Kind::Machine));
        places.push(place("-/m6", Kind::Machine));
        let mut samples = good(&places);
        assert!(evaluate(&places, &samples).good);
        set(&mut samples, 5, 6, Way::L2, 1);
        let verdict = evaluate(&places, &samples);
        assert!(!verdict.good, "not even another of nobody");
        set(&mut samples, 5, 0, Way::L2, 1);
        assert!(evaluate(&places, &samples).tenants[0].line.contains("LEAKING to nobody's machine"));
    }

    #[test]
    fn a_single_tenant_proves_nothing() {
        let places = vec![place("finance/m1", Kind::Machine), place("finance/m2", Kind::Machine)];
        assert!(!evaluate(&places, &good(&places)).good);
    }

    #[test]
    fn the_drawing_has_a_row_for_each_place() {
        let places = world();
        let mut samples = good(&places);
        set(&mut samples, 0, 3, Way::Udp, 1);
        let verdict = evaluate(&places, &samples);
        let drawing = draw(&places, &verdict, |_, word| word.to_owned());
        assert_eq!(drawing.lines().count(), 6);
        let row = drawing.lines().nth(1).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["1", "finance/m1", "-", "yes", "yes", "LEAK", "·"]);
    }
}
