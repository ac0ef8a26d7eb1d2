//! Token buckets of presets that spread a fixed window, so that an import does not use it up in a burst: `minute-spread` beside `minute`.

use tollgate_proto::v1::{FixedWindow, Limit, TokenBucket, limit::Kind};

/// What the name of such a bucket has behind that of its window.
const SUFFIX: &str = "-spread";

/// What one call may cost at most, as far as anybody knows: it has to fit into the bucket, if it fits into the window.
const COST_MAX: u64 = 10;

/// Where a file changes a window and says nothing of its bucket, that follows: it would else hold the account to what the preset had. A
/// window that is in shadow, or of another kind, is not spread.
pub fn follow(mut limits: Vec<Limit>, base: &[Limit]) -> Vec<Limit> {
    let stated = limits.clone();
    for limit in &mut limits {
        let Some(name) = limit.name.strip_suffix(SUFFIX) else { continue };
        let of_base = |name: &str| base.iter().find(|of_base| of_base.name == name);
        let Some((before, stated)) = of_base(name).zip(stated.iter().find(|limit| limit.name == name)) else {
            continue;
        };
        let is_as_in_base = of_base(&limit.name).is_some_and(|of_base| of_base.kind == limit.kind);
        match (window(before), window(stated), bucket(limit)) {
            (Some(before), Some(now), Some(bucket)) if is_as_in_base && before != now => {
                limit.kind = Some(Kind::TokenBucket(scaled(bucket, before, now)));
            }
            (Some(_), None, Some(_)) if is_as_in_base => limit.shadow = true,
            _ => {}
        }
        limit.shadow |= is_as_in_base && stated.shadow;
    }
    limits
}

/// The same part of the window at once.
fn scaled(bucket: &TokenBucket, before: &FixedWindow, now: &FixedWindow) -> TokenBucket {
    let capacity = u128::from(bucket.capacity) * u128::from(now.amount) / u128::from(before.amount.max(1));
    let capacity = u64::try_from(capacity).unwrap_or(u64::MAX).max(COST_MAX).min(now.amount);
    TokenBucket { capacity, refill_amount: now.amount, refill_period: now.period }
}

fn bucket(limit: &Limit) -> Option<&TokenBucket> {
    match &limit.kind {
        Some(Kind::TokenBucket(bucket)) => Some(bucket),
        _ => None,
    }
}

fn window(limit: &Limit) -> Option<&FixedWindow> {
    match &limit.kind {
        Some(Kind::FixedWindow(window)) => Some(window),
        _ => None,
    }
}
