//! Random numbers that come again for the same seed (SplitMix64).

use super::say;

/// A source of random numbers.
pub struct Chance(u64);

impl Chance {
    /// Seeded by COFFERDAM_TEST_SEED, else by the clock; says which seed it is.
    pub fn seeded() -> Self {
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32)
        };
        let seed =
            std::env::var("COFFERDAM_TEST_SEED").ok().map_or_else(clock, |text| text.parse().expect("COFFERDAM_TEST_SEED: a number"));
        say(&format!("seed: COFFERDAM_TEST_SEED={seed}"));
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
