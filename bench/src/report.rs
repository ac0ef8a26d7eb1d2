//! What was measured.

use crate::{plan::Plan, tally::Tally};

/// A measurement.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was measured.
    pub plan: Plan,
    /// The sides, in the order of the targets, then the floor.
    pub sides: Vec<SideReport>,
    /// A leader was elected since the beginning, another one or the same again: measure again.
    pub leader_changed: bool,
}

/// One side.
#[derive(Clone, Debug)]
pub struct SideReport {
    /// `leader`, `follower`, `all` or `floor`.
    pub name: &'static str,
    /// Operations per second, slice by slice.
    pub rates: Vec<f64>,
    /// All slices together.
    pub tally: Tally,
    /// What each process took for an operation; the generator is the last. Empty where that cannot be seen.
    pub cpu: Vec<Cpu>,
    /// Beside the floor.
    pub of_floor: Option<Ratio>,
    /// Beside the first target.
    pub of_first: Option<Ratio>,
}

/// The processor's time that one process took.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// Which.
    pub process: String,
    /// Microseconds per operation.
    pub micros_per_operation: f64,
}

/// How the rates of one side stand to those of another, pair by pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// What counts.
    pub median: f64,
    /// The least of any pair.
    pub least: f64,
    /// The greatest of any pair.
    pub greatest: f64,
}

impl SideReport {
    /// Operations per second: the median of the slices.
    pub fn rate(&self) -> f64 {
        median(&self.rates).unwrap_or_default()
    }
}

impl Ratio {
    /// Of slices that were taken in pairs; none where the other side did nothing.
    pub fn of(rates: &[f64], others: &[f64]) -> Option<Ratio> {
        let ratios: Vec<f64> = rates.iter().zip(others).map(|(rate, other)| rate / other).collect();
        if !ratios.iter().all(|ratio| ratio.is_finite()) {
            return None;
        }
        let least = ratios.iter().copied().min_by(f64::total_cmp)?;
        let greatest = ratios.iter().copied().max_by(f64::total_cmp)?;
        Some(Ratio { median: median(&ratios)?, least, greatest })
    }
}

/// The middle one, or what is between the two in the middle; none of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_pairs_not_of_the_sides() {
        // The machine became three times as slow on the way; the sides always stood at one half.
        let ratio = Ratio::of(&[50.0, 45.0, 15.0, 20.0], &[100.0, 90.0, 30.0, 25.0]).unwrap();
        assert_eq!(ratio, Ratio { median: 0.5, least: 0.5, greatest: 0.8 });
        assert_eq!(Ratio::of(&[1.0, 2.0], &[1.0, 0.0]), None);
        assert_eq!(Ratio::of(&[], &[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    }
}
