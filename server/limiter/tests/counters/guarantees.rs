//! Never above the guarantee, in any interval, wherever calls arrive and whatever the vendor's clock says.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use tollgate_limiter::*;

use crate::script::*;

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![6 => acquires(), 1 => refunds(), 1 => settlements()]
}

fn sent(history: &History) -> impl Iterator<Item = &Call> {
    history.calls.iter().filter(|call| call.sent)
}

/// When calls arrive, each delayed by a part of the tolerance, in nanoseconds of cluster time.
fn arrivals(history: &History, delays: &[u64]) -> Vec<(u64, u64)> {
    let delay = |i: usize| delays[i % delays.len()] % (history.rules.tolerance.as_nanos() + 1);
    let mut arrivals: Vec<_> =
        sent(history).enumerate().map(|(i, call)| (call.at.cluster.0 + delay(i), call.amount)).collect();
    arrivals.sort_unstable();
    arrivals
}

fn delays() -> impl Strategy<Value = Vec<u64>> {
    // The extremes are the worst cases more often than not.
    prop::collection::vec(prop_oneof![2 => Just(0), 2 => Just(u64::MAX - 1), 1 => any::<u64>()], 1..20)
}

proptest! {
    #[test]
    fn a_token_bucket_grants_at_most_its_capacity_and_what_is_refilled(
        rules in token_buckets(),
        steps in steps(actions()),
    ) {
        let LimitKind::TokenBucket(bucket) = rules.kind.clone() else { unreachable!() };
        let history = History::run(rules, &steps);
        let calls: Vec<_> = sent(&history).collect();
        for (i, first) in calls.iter().enumerate() {
            let mut granted = 0;
            for last in &calls[i..] {
                granted += u128::from(last.amount);
                let interval = u128::from(last.at.cluster.0 - first.at.cluster.0);
                let period = u128::from(bucket.refill_period.0);
                let most = u128::from(bucket.capacity) * period + interval * u128::from(bucket.refill_amount);
                prop_assert!(granted * period <= most, "{granted} in {interval} ns");
            }
        }
    }

    #[test]
    fn a_leaky_bucket_keeps_its_pace(rules in leaky_buckets(), steps in steps(actions())) {
        let LimitKind::LeakyBucket(bucket) = rules.kind.clone() else { unreachable!() };
        let history = History::run(rules, &steps);
        let calls: Vec<_> = sent(&history).collect();
        for pair in calls.windows(2) {
            let apart = pair[1].at.cluster.0 - pair[0].at.cluster.0;
            prop_assert!(apart * bucket.amount >= pair[0].amount * bucket.period.0, "{apart} ns apart");
        }
    }

    #[test]
    fn a_calendar_window_is_never_exceeded_by_the_vendors_clock(
        rules in epoch_windows(),
        steps in steps(actions()),
        delays in delays(),
        offset in -15..=15i64,
    ) {
        let LimitKind::FixedWindow(window) = rules.kind.clone() else { unreachable!() };
        let skew = i64::try_from(window.max_clock_skew.0).unwrap();
        let tolerance = rules.tolerance.as_nanos();
        let history = History::run(rules, &steps);
        let mut arrived = BTreeMap::<i64, u64>::new();
        for (i, call) in sent(&history).enumerate() {
            let delay = delays[i % delays.len()] % (tolerance + 1);
            let vendor_time = call.at.wall.0 + i64::try_from(delay).unwrap() + offset.clamp(-skew, skew);
            let id = vendor_time.div_euclid(i64::try_from(window.period.0).unwrap());
            *arrived.entry(id).or_default() += call.amount;
        }
        prop_assert!(arrived.values().all(|sum| *sum <= window.amount), "{arrived:?}");
    }

    /// Around the days on which clocks change, with a vendor whose own clock is off by hours.
    #[test]
    fn a_day_is_never_exceeded_by_the_vendors_calendar(
        rules in midnight_windows(),
        begins_at in (1_740_000_000..1_775_000_000i64).prop_map(|second| second * 1_000_000_000),
        steps in steps(actions()),
        unit in HOUR / 12..2 * HOUR,
        delays in delays(),
        offset in -6..=6i64,
    ) {
        let LimitKind::FixedWindow(window) = rules.kind.clone() else { unreachable!() };
        let Anchor::Midnight(zone) = &window.anchor else { unreachable!() };
        let zone = TimeZone::get(zone.as_str()).unwrap();
        let skew = window.max_clock_skew.0.cast_signed();
        let tolerance = rules.tolerance.as_nanos();
        let mut history = History::new(rules);
        history.now.wall = WallTime(begins_at);
        for step in steps {
            history.take(&Step { elapsed: step.elapsed * unit, wall_ahead: step.wall_ahead * unit, ..step });
        }
        let mut arrived = BTreeMap::<_, u64>::new();
        for (i, call) in sent(&history).enumerate() {
            let delay = (delays[i % delays.len()] % (tolerance + 1)).cast_signed();
            let offset = (offset * HOUR.cast_signed()).clamp(-skew, skew);
            let shown = Timestamp::from_nanosecond(i128::from(call.at.wall.0 + delay + offset)).unwrap();
            *arrived.entry(zone.to_datetime(shown).date()).or_default() += call.amount;
        }
        prop_assert!(arrived.values().all(|sum| *sum <= window.amount), "{arrived:?}");
    }

    #[test]
    fn a_window_from_the_first_request_is_never_exceeded(
        rules in first_request_windows(),
        steps in steps(actions()),
        delays in delays(),
    ) {
        let LimitKind::FixedWindow(window) = rules.kind.clone() else { unreachable!() };
        let history = History::run(rules, &steps);
        let (mut closes, mut sum) = (0, 0);
        for (arrival, amount) in arrivals(&history, &delays) {
            if arrival >= closes {
                (closes, sum) = (arrival + window.period.0, 0);
            }
            sum += amount;
            prop_assert!(sum <= window.amount, "{sum} in the window that closes at {closes}");
        }
    }

    #[test]
    fn no_window_of_the_length_of_a_sliding_window_exceeds_it(
        rules in sliding_windows(),
        steps in steps(actions()),
        delays in delays(),
    ) {
        let LimitKind::SlidingWindow(window) = rules.kind.clone() else { unreachable!() };
        let history = History::run(rules, &steps);
        let arrivals = arrivals(&history, &delays);
        for (i, (from, _)) in arrivals.iter().enumerate() {
            let inside = arrivals[i..].iter().take_while(|(at, _)| *at <= from + window.period.0);
            let sum: u64 = inside.map(|(_, amount)| amount).sum();
            prop_assert!(sum <= window.amount, "{sum} within {:?} from {from}", window.period);
        }
    }
}

/// A call that arrives the moment the vendor's window closes would open the next.
#[test]
fn a_first_request_window_stops_where_a_call_could_open_the_next() {
    let kind = fixed_window(5, 100, Anchor::FirstRequest, 0);
    let mut history = History::new(Rules { kind, tolerance: Span(10) });
    let opened = history.now;
    history.debit(1);
    let last = opened.after(Span(89));
    assert_eq!(history.earliest(1, last), Some(last));
    assert_eq!(history.earliest(1, opened.after(Span(90))), Some(opened.after(Span(110))));
}
