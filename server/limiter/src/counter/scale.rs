//! Integer arithmetic that the counters share: amounts times periods, and roundings with a direction.

use crate::model::Span;

/// `value`, or the largest that fits.
pub(super) fn saturating_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `amount` over a period in units of which a rate of n per period yields n each nanosecond. Below 2^95.
pub(super) fn scaled(amount: u64, period: Span) -> u128 {
    u128::from(amount) * u128::from(period.as_nanos())
}

/// `value / divisor`, rounded down. Divisions of 64 bits, several times as fast as those of 128, are enough nearly always.
pub(super) fn div_floor(value: i128, divisor: u64) -> i128 {
    match u64::try_from(value) {
        Ok(value) => i128::from(value / divisor),
        Err(_) => value.div_euclid(i128::from(divisor)),
    }
}

/// `value · numerator / denominator`, rounded down, without a product that could overflow unless the result does.
pub(super) fn rescale_down(value: u128, numerator: u64, denominator: u64) -> u128 {
    let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
    let (whole, rest) = (value / denominator, value % denominator);
    whole.saturating_mul(numerator).saturating_add(rest * numerator / denominator)
}

/// The same, rounded up.
pub(super) fn rescale_up(value: u128, numerator: u64, denominator: u64) -> u128 {
    let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
    let (whole, rest) = (value / denominator, value % denominator);
    whole.saturating_mul(numerator).saturating_add((rest * numerator).div_ceil(denominator))
}
