//! Token buckets of presets that spread a fixed window, so that an import does not use it up in a burst: `minute-spread` beside `minute`.

use tollgate_proto::v1::{FixedWindow, Limit, TokenBucket, limit::Kind};

/// What the name of such a bucket has behind that of its window.
const SUFFIX: &str = "-spread";

/// One part in so many of the window goes through at once.
const AT_ONCE: u64 = 20;

/// Where a file changes the amount or the period of a window and says nothing of its bucket, that follows. It would else hold the
/// account to what the preset had.
pub fn follow(mut limits: Vec<Limit>, base: &[Limit]) -> Vec<Limit> {
    let windows: Vec<_> =
        limits.iter().filter_map(|limit| Some((limit.name.clone(), window(limit)?.clone()))).collect();
    for limit in &mut limits {
        let Some(name) = limit.name.strip_suffix(SUFFIX) else { continue };
        let of_base = |name: &str| base.iter().find(|of_base| of_base.name == name);
        let is_as_in_base = of_base(&limit.name).is_some_and(|of_base| of_base.kind == limit.kind);
        let Some((_, window)) = windows.iter().find(|(window, _)| window == name) else { continue };
        if is_as_in_base && of_base(name).and_then(self::window).is_some_and(|before| before != window) {
            limit.kind = Some(Kind::TokenBucket(TokenBucket {
                capacity: (window.amount / AT_ONCE).max(1),
                refill_amount: window.amount,
                refill_period: window.period,
            }));
        }
    }
    limits
}

fn window(limit: &Limit) -> Option<&FixedWindow> {
    match &limit.kind {
        Some(Kind::FixedWindow(window)) => Some(window),
        _ => None,
    }
}
