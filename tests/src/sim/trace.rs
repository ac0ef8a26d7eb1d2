//! What happened, twice over: a digest that two runs of a seed must share, and lines for people who replay one.

use std::fmt::Display;

use tollgate_limiter::Span;

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    is_told: bool,
}

impl Trace {
    /// A trace that is printed as it grows, or only digested.
    pub fn new(is_told: bool) -> Trace {
        Trace { digest: 0, is_told }
    }

    /// Takes numbers into the digest.
    pub fn fold(&mut self, numbers: &[u64]) {
        for number in numbers {
            // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
            let mut z = (self.digest ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            self.digest = z ^ (z >> 31);
        }
    }

    /// A line for people, who read it only when they replay.
    pub fn tell<D: Display>(&self, now: Span, line: impl FnOnce() -> D) {
        if self.is_told {
            println!("{:>10.4} s  {}", now.0 as f64 / 1e9, line());
        }
    }

    /// Of everything so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_counts() {
        let digest = |numbers: &[u64]| {
            let mut trace = Trace::new(false);
            trace.fold(numbers);
            trace.digest()
        };
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
    }
}
