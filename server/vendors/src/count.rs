//! Counts: decimal integers, nothing else.

use tollgate_limiter::MAX_AMOUNT;

use crate::Problem;

/// The greatest count that makes sense: the limiter knows no greater amounts.
pub const COUNT_MAX: u64 = MAX_AMOUNT;

/// An amount: 1 to [`COUNT_MAX`].
pub fn amount(text: &str) -> Result<u64, Problem> {
    match count(text)? {
        0 => Err(Problem::Zero),
        amount => Ok(amount),
    }
}

/// A count: 0 to [`COUNT_MAX`].
pub fn count(text: &str) -> Result<u64, Problem> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Malformed("a whole number"));
    }
    if negative {
        return Err(Problem::Negative);
    }
    // Of digits alone, only too many do not parse.
    digits.parse().ok().filter(|count| *count <= COUNT_MAX).ok_or(Problem::Implausible)
}

/// What is left and the amount, of `used/limit`. Vendors let some calls pass above the limit: then nothing is left.
pub fn used_of_limit(text: &str) -> Result<(u64, u64), Problem> {
    let (used, limit) = text.split_once('/').ok_or(Problem::Malformed("used/limit, such as 10018/100000"))?;
    let (used, limit) = (count(used.trim())?, amount(limit.trim())?);
    Ok((limit.saturating_sub(used), limit))
}
