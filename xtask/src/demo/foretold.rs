//! What `cofferdam explain` says of every pair of the demo's ports, held against the packets: pure but for the asking.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::client::{Service, Session};
use super::matrix::{Place, Sample};
use super::steps::Owners;

/// What was said of one port reaching another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether it can.
    pub(crate) reachable: bool,
    /// What decided.
    pub(crate) why: String,
}

/// What was said, by the ids of both ports.
pub(crate) type Foretold = BTreeMap<(String, String), Said>;

/// How the words and the packets compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// They say the same of every pair.
    pub(crate) good: bool,
    /// The whole line.
    pub(crate) line: String,
}

/// Asks about every ordered pair of the machines' ports.
///
/// # Errors
/// The service refused, or its answer is not one.
pub(crate) async fn ask(session: &Session, owners: &Owners) -> Result<Foretold> {
    let mut foretold = Foretold::new();
    for from in owners.values() {
        for to in owners.values().filter(|it| it.port != from.port) {
            let path = format!("/cofferdam/reachability?from={}&to={}", from.port, to.port);
            let answer = session.get(Service::Network, &path).await?;
            let said = &answer["reachability"];
            let reachable = said["reachable"].as_bool().context("an answer without reachable")?;
            let steps = said["steps"].as_array().map_or(&[][..], Vec::as_slice);
            let decides = steps.iter().find(|it| it["effect"] == "blocks").or_else(|| steps.last());
            let why = decides.and_then(|it| it["text"].as_str()).unwrap_or_default().to_owned();
            foretold.insert((from.port.clone(), to.port.clone()), Said { reachable, why });
        }
    }
    Ok(foretold)
}

/// Holds what was said against what arrived: of every ordered pair of ports, neither more nor less.
pub(crate) fn compare(places: &[Place], samples: &[Sample], foretold: &Foretold) -> Comparison {
    let mut wrong = Vec::new();
    let (mut reach, mut apart) = (0_usize, 0_usize);
    for (from, source) in places.iter().enumerate() {
        for (to, target) in places.iter().enumerate().filter(|(to, _)| *to != from) {
            let (Some(a), Some(b)) = (&source.port, &target.port) else { continue };
            let pair = format!("{} -> {}", source.label, target.label);
            let of_pair = || samples.iter().filter(|it| it.from == from && it.to == to && it.sent > 0);
            let arrived = of_pair().any(|it| it.received > 0);
            match foretold.get(&(a.clone(), b.clone())) {
                _ if of_pair().next().is_none() => wrong.push(format!("{pair} was not measured")),
                None => wrong.push(format!("nothing was said of {pair}")),
                Some(said) if said.reachable == arrived => *(if arrived { &mut reach } else { &mut apart }) += 1,
                Some(said) if arrived => wrong.push(format!("{pair} arrives, said not to ({})", said.why)),
                Some(said) => wrong.push(format!("{pair} does not arrive, said to ({})", said.why)),
            }
        }
    }
    if wrong.is_empty() && reach + apart == 0 {
        wrong.push("there are no two ports".to_owned());
    }
    if !wrong.is_empty() {
        return Comparison { good: false, line: format!("explain and packets disagree: {}", wrong.join("; ")) };
    }
    let line = format!("explain agrees with the packets: of {} pairs of ports {reach} reach and {apart} do not", reach + apart);
    Comparison { good: true, line }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::{Kind, Way};
    use super::*;

    fn place(label: &str, port: Option<&str>) -> Place {
        let kind = if port.is_some() { Kind::Machine } else { Kind::Container };
        Place { label: label.into(), kind, tenant: Some("t".into()), port: port.map(str::to_owned) }
    }

    fn sample(from: usize, to: usize, received: u64) -> Sample {
        Sample { from, to, way: Way::L2, sent: 2, received }
    }

    fn said(pairs: &[(&str, &str, bool)]) -> Foretold {
        let said = |reachable| Said { reachable, why: "because".into() };
        pairs.iter().map(|(a, b, reachable)| (((*a).to_owned(), (*b).to_owned()), said(*reachable))).collect()
    }

    #[test]
    fn words_and_packets_must_agree_on_every_pair() {
        let places = [place("t/m1", Some("a")), place("t/m2", Some("b")), place("t/m1/web", None)];
        let samples = [sample(0, 1, 2), sample(1, 0, 0), sample(0, 2, 2)];
        let good = compare(&places, &samples, &said(&[("a", "b", true), ("b", "a", false)]));
        assert_eq!(good.line, "explain agrees with the packets: of 2 pairs of ports 1 reach and 1 do not");
        assert!(good.good);
        let more = compare(&places, &samples, &said(&[("a", "b", false), ("b", "a", false)]));
        assert!(!more.good && more.line.contains("t/m1 -> t/m2 arrives, said not to (because)"), "{}", more.line);
        let less = compare(&places, &samples, &said(&[("a", "b", true), ("b", "a", true)]));
        assert!(!less.good && less.line.contains("t/m2 -> t/m1 does not arrive, said to"), "{}", less.line);
        assert!(compare(&places, &samples, &said(&[("a", "b", true)])).line.contains("nothing was said of t/m2 -> t/m1"));
        assert!(compare(&places, &samples[..1], &said(&[("a", "b", true), ("b", "a", true)])).line.contains("was not measured"));
        assert!(!compare(&[], &[], &Foretold::new()).good);
    }
}
