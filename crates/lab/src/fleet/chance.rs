//! Chance that comes again for the same seed, whatever the order in which things happen: each draw depends on the seed, the machine, what
//! is drawn, and how often that was drawn of this machine before.

/// What is left to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// Whether the BMC answers as it should.
    Bmc,
    /// Whether a boot from the network leads anywhere.
    Boot,
    /// Whether a step fails.
    Step,
    /// How long something takes.
    Time,
    /// Ids, tokens, passwords.
    Name,
}

/// How many kinds of draws there are.
pub(crate) const KINDS: usize = 5;

impl Draw {
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Bmc => 0,
            Self::Boot => 1,
            Self::Step => 2,
            Self::Time => 3,
            Self::Name => 4,
        }
    }
}

/// The finisher of SplitMix64 (Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `turn`th draw of that kind of a machine.
pub(crate) fn draw(seed: u64, machine: usize, kind: Draw, turn: u64) -> u64 {
    let machine = u64::try_from(machine).unwrap_or(u64::MAX);
    let kind = u64::try_from(kind.number()).unwrap_or(u64::MAX);
    mix(mix(mix(seed) ^ machine.wrapping_mul(0xd6e8_feb8_6659_fd93)) ^ (kind << 56) ^ turn)
}

/// A draw as a number from 0 to below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are kept, which are as many as there are in the result")]
pub(crate) fn fraction(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_comes_again_and_nothing_else_does() {
        assert_eq!(draw(7, 3, Draw::Step, 5), draw(7, 3, Draw::Step, 5));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..3 {
            for machine in 0..50 {
                for kind in [Draw::Bmc, Draw::Boot, Draw::Step, Draw::Time, Draw::Name] {
                    for turn in 0..10 {
                        assert!(seen.insert(draw(seed, machine, kind, turn)), "{seed} {machine} {kind:?} {turn}");
                    }
                }
            }
        }
        assert_eq!(KINDS, 5);
    }

    #[test]
    fn fractions_are_spread() {
        let all: Vec<f64> = (0..1000).map(|turn| fraction(draw(1, 0, Draw::Bmc, turn))).collect();
        assert!(all.iter().all(|it| (0.0..1.0).contains(it)));
        let below = all.iter().filter(|it| **it < 0.25).count();
        assert!((200..300).contains(&below), "{below}");
    }
}
