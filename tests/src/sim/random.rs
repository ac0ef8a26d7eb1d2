//! The one source of chance in a simulated world.

/// A stream of numbers that follows from its seed (Wyrand, by the crate `fastrand`, whose version is locked).
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The stream of a seed for one purpose: streams of different purposes have nothing in common, so that leaving out one
    /// part of a scenario does not change what the others draw.
    pub fn new(seed: u64, purpose: &str) -> Random {
        // FNV-1a (Fowler, Noll, Vo).
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let purpose = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        Random(fastrand::Rng::with_seed(seed ^ purpose.rotate_left(23)))
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound.max(1))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high.max(low))
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of several values, of which there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Another seed.
    pub fn seed(&mut self) -> u64 {
        self.0.u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_follows_from_seed_and_purpose() {
        let draw = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            [(); 8].map(|()| random.below(1_000_000))
        };
        assert_eq!(draw(7, "network"), draw(7, "network"));
        assert_ne!(draw(7, "network"), draw(8, "network"));
        assert_ne!(draw(7, "network"), draw(7, "disk"));
    }
}
