//! An estimate beside what happens when the work is done: call by call, waiting as long as each denial says.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn rate_limit() -> impl Strategy<Value = LimitKind> {
    let amounts = select(vec![1u64, 3, 10, 74, 190]);
    let periods = select(vec![100, 1_000, 7_000, 60_000]).prop_map(Span::from_millis);
    let first = |amount, period| {
        let (anchor, max_clock_skew) = (Anchor::FirstRequest, Span::ZERO);
        LimitKind::FixedWindow(FixedWindow { amount, period, anchor, max_clock_skew })
    };
    (0..6, amounts, periods, 1u64..40).prop_map(move |(kind, amount, period, refill)| match kind {
        0 => bucket(amount, refill, period),
        1 => LimitKind::LeakyBucket(LeakyBucket { amount, period }),
        2 => window(amount, period),
        3 => first(amount, period),
        4 => day(amount * 50, "Europe/Berlin"),
        _ => sliding(amount, period, 10),
    })
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let tolerance = select(vec![0, 1]).prop_map(Span::from_millis);
    (vec((rate_limit(), any::<bool>()), 1..4), tolerance).prop_map(|(kinds, dispatch_tolerance)| {
        let named = |(at, (kind, by_key)): (usize, (LimitKind, bool))| {
            let scope = if by_key { Scope::Key } else { Scope::Resource };
            Limit { scope, ..limit(&format!("l{at}"), kind) }
        };
        let limits = kinds.into_iter().enumerate().map(named).collect();
        let keys = ["blue", "green"].map(|key| Label::new(key).unwrap()).to_vec();
        Resource { keys, dispatch_tolerance, ..resource(NAME, limits) }
    })
}

/// How long the calls really take, none beyond the horizon; and whether several limits hold them up by turns.
fn carried_out(mut limiter: Limiter, began: Stamp, step: &WorkStep) -> (Option<Span>, bool) {
    let consumer = Label::new("crm").unwrap();
    let command = Command::from(super::super::acquire(step, &consumer, Label::default()));
    let (mut now, mut holders, mut is_pushed_on) = (began, BTreeSet::new(), false);
    for _ in 0..step.calls {
        while let Outcome::Denied(denial) = apply(&mut limiter, now, command.clone()) {
            now = now.after(denial.retry_after.unwrap());
            // When the one that holds it frees, another does not let it go yet.
            is_pushed_on |= denial.exhausted.iter().map(|limit| limit.retry_after).max() < denial.retry_after;
            holders.extend(denial.exhausted.into_iter().map(|exhausted| exhausted.limit));
        }
    }
    let span = now.cluster.since(began.cluster);
    (Some(span).filter(|span| *span <= HORIZON), is_pushed_on || holders.len() > 1)
}

/// A limiter on which some of the work was done before, and a moment a while later.
fn in_use(resource: Resource, used: u64, later: Span) -> (Limiter, Stamp) {
    let mut stamp = at("2026-03-28T21:30:00Z");
    let mut limiter = limiter(stamp, [resource]);
    let consumer = Label::new("other").unwrap();
    let command = Command::from(super::super::acquire(&call(), &consumer, Label::default()));
    for _ in 0..used {
        apply(&mut limiter, stamp, command.clone());
        stamp = stamp.after(Span::from_millis(7));
    }
    (limiter, stamp.after(later))
}

/// What one lets through call by call went together in the other's sub-buckets, where it counted for longer.
#[test]
fn a_sliding_window_beside_a_limit_that_is_as_tight_counts_what_it_would() {
    let pairs = [
        (window(1, Span::from_millis(100)), sliding(10, Span::from_secs(1), 10)),
        (sliding(1, Span::from_millis(100), 10), sliding(10, Span::from_secs(1), 10)),
        (window(1, Span::from_secs(7)), sliding(10, Span::from_secs(60), 10)),
    ];
    for (one, other) in pairs {
        let limits = vec![limit("one", one), limit("other", other)];
        let (limiter, now) = in_use(resource(NAME, limits), 0, Span::ZERO);
        let step = calls(6_000);
        let estimated = estimate(&limiter, now, vec![step.clone()]).duration.unwrap();
        let real = carried_out(limiter, now, &step).0.unwrap();
        assert!(estimated.0.abs_diff(real.0) <= real.0 / 100, "{estimated} for {real}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn small_work_is_estimated_exactly(
        resource in any_resource(),
        used in 0u64..50,
        later in 0u64..20_000,
        count in 1u64..600,
    ) {
        let (limiter, now) = in_use(resource, used, Span::from_millis(later));
        let step = calls(count);
        let estimated = estimate(&limiter, now, vec![step.clone()]).duration;
        prop_assert_eq!(estimated, carried_out(limiter, now, &step).0);
    }

    #[test]
    fn large_work_is_estimated_within_a_hundredth_unless_limits_take_turns(
        resource in any_resource(),
        used in 0u64..50,
        later in 0u64..20_000,
        count in 2_000u64..6_000,
    ) {
        let (limiter, now) = in_use(resource, used, Span::from_millis(later));
        let step = calls(count);
        let estimated = estimate(&limiter, now, vec![step.clone()]).duration;
        let (real, is_by_turns) = carried_out(limiter, now, &step);
        let (Some(estimated), Some(real)) = (estimated, real) else {
            prop_assert_eq!(estimated, real);
            return Ok(());
        };
        // What one holds up differs by the pieces in which another lets it through.
        let part = if is_by_turns { 10 } else { 100 };
        prop_assert!(estimated.0.abs_diff(real.0) <= real.0 / part, "{estimated} for {real}");
    }
}
