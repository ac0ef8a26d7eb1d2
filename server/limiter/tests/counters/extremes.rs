//! The largest, longest and shortest that a limit may be: no overflow, no wait that is off.

use tollgate_limiter::counter::{RateCounter, Terms, most};
use tollgate_limiter::*;

use crate::script::fixed_window;

const DAYS_400: Span = Span::from_secs(400 * 86_400);
const MILLI: Span = Span::from_millis(1);

fn extreme_kinds() -> Vec<LimitKind> {
    let mut kinds = Vec::new();
    for period in [MILLI, DAYS_400] {
        for amount in [1, MAX_AMOUNT] {
            for refill_amount in [1, MAX_AMOUNT] {
                kinds.push(LimitKind::TokenBucket(TokenBucket {
                    capacity: amount,
                    refill_amount,
                    refill_period: period,
                }));
            }
            kinds.push(LimitKind::LeakyBucket(LeakyBucket { amount, period }));
            kinds.push(fixed_window(amount, period.0, Anchor::Epoch, period.0 / 4));
            kinds.push(fixed_window(amount, period.0, Anchor::FirstRequest, 0));
            for resolution in [1, 7, 1_000] {
                kinds.push(LimitKind::SlidingWindow(SlidingWindow { amount, period, resolution }));
            }
        }
    }
    let zone = TimeZoneName::new("Pacific/Auckland").unwrap();
    kinds.push(fixed_window(MAX_AMOUNT, 86_400 * NANOS_PER_SECOND, Anchor::Midnight(zone), 0));
    kinds
}

/// A cluster that is an hour old, one that is a century old, and the end of all times.
fn moments() -> [Stamp; 4] {
    let at = |cluster, wall| Stamp { cluster: ClusterTime(cluster), wall: WallTime(wall) };
    let century = 100 * 366 * 86_400 * NANOS_PER_SECOND;
    [
        at(0, 0),
        at(3_600 * NANOS_PER_SECOND, 1_700_000_000 * NANOS_PER_SECOND.cast_signed()),
        at(century, century.cast_signed()),
        at(u64::MAX - 1, i64::MAX - 1),
    ]
}

#[test]
fn nothing_overflows() {
    for kind in extreme_kinds() {
        for tolerance in [Span::ZERO, Span(400_000)] {
            for now in moments() {
                survive(Terms { kind: &kind, dispatch_tolerance: tolerance }, now);
            }
        }
    }
}

fn survive(terms: Terms, now: Stamp) {
    let all = most(terms.kind).unwrap();
    let mut counter = RateCounter::fresh(terms, now);
    assert_eq!(counter.available(terms, now), i64::try_from(all).unwrap());
    assert_eq!(counter.earliest(terms, all, now), Some(now));
    assert_eq!(counter.earliest(terms, all + 1, now), None);
    let mut debits: Vec<_> = (0..40).map(|_| counter.debit(terms, all, now)).collect();
    for debit in &mut debits {
        counter.correct(terms, debit, MAX_AMOUNT, now);
    }
    assert!(counter.available(terms, now) <= 0);
    assert!(counter.used(terms, now) > 0);
    let later = counter.earliest(terms, all, now).unwrap();
    assert!(later.cluster > now.cluster || later.wall > now.wall || now.cluster.0 == u64::MAX - 1);
    let bytes = minicbor::to_vec(&counter).unwrap();
    assert_eq!(minicbor::decode::<RateCounter>(&bytes).unwrap(), counter);
    for kind in extreme_kinds() {
        if std::mem::discriminant(&kind) == std::mem::discriminant(terms.kind) {
            let new = Terms { kind: &kind, ..terms };
            let carried = counter.carry(terms, new, now);
            assert!(carried.available(new, now) <= i64::try_from(most(&kind).unwrap()).unwrap());
        }
    }
    for debit in &mut debits {
        counter.refund(terms, debit, now);
    }
    assert!(counter.available(terms, now) <= i64::try_from(all).unwrap());
}

#[test]
fn the_slowest_bucket_still_refills_to_the_nanosecond() {
    let kind = LimitKind::TokenBucket(TokenBucket {
        capacity: MAX_AMOUNT,
        refill_amount: 3,
        refill_period: DAYS_400,
    });
    let terms = Terms { kind: &kind, dispatch_tolerance: Span::ZERO };
    let now = Stamp { cluster: ClusterTime(5), wall: WallTime(0) };
    let mut counter = RateCounter::fresh(terms, now);
    counter.debit(terms, MAX_AMOUNT, now);
    assert_eq!(counter.earliest(terms, 1, now), Some(now.after(Span(DAYS_400.0 / 3))));
    assert_eq!(counter.earliest(terms, 2, now), Some(now.after(Span((2 * DAYS_400.0).div_ceil(3)))));
}
