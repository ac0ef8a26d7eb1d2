//! When things happen: granted exactly at `earliest`, as fresh exactly after `fresh_in`; and the state survives encoding.

use proptest::prelude::*;
use tollgate_limiter::counter::{RateCounter, most};
use tollgate_limiter::*;

use crate::script::*;

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![5 => acquires(), 1 => forces(), 1 => refunds(), 1 => settlements()]
}

proptest! {
    #[test]
    fn granted_exactly_at_earliest_and_not_a_nanosecond_before(
        rules in all_kinds(),
        steps in steps(actions()),
        amount in 1..12u64,
    ) {
        let history = History::run(rules, &steps);
        let now = history.now;
        let Some(earliest) = history.earliest(amount, now) else {
            prop_assert!(amount > most(&history.rules.kind).unwrap());
            return Ok(());
        };
        let wait = earliest.cluster.since(now.cluster);
        prop_assert_eq!(now.after(wait), earliest);
        prop_assert_eq!(history.earliest(amount, earliest), Some(earliest));
        for sooner in 0..wait.0.min(500) {
            prop_assert_eq!(history.earliest(amount, now.after(Span(wait.0 - 1 - sooner))), Some(earliest));
        }
    }

    #[test]
    fn what_is_available_fits_and_one_more_does_not(rules in all_kinds(), steps in steps(actions())) {
        let history = History::run(rules, &steps);
        let fits = |amount| history.earliest(amount, history.now) == Some(history.now);
        let available = u64::try_from(history.available()).unwrap_or(0);
        prop_assert!(available == 0 || fits(available));
        prop_assert!(!fits(available + 1));
    }

    #[test]
    fn as_fresh_exactly_after_fresh_in(
        rules in all_kinds(),
        steps in steps(actions()),
        more in steps(prop_oneof![4 => acquires(), 1 => forces()]),
    ) {
        let mut used = History::run(rules.clone(), &steps);
        let fresh_in = used.counter.fresh_in(rules.terms(), used.now);
        if fresh_in > Span::ZERO {
            let just_before = used.now.after(Span(fresh_in.0 - 1));
            prop_assert_eq!(used.counter.fresh_in(rules.terms(), just_before), Span(1));
        }
        used.now = used.now.after(fresh_in);
        prop_assert_eq!(used.counter.fresh_in(rules.terms(), used.now), Span::ZERO);
        let mut fresh = used.clone();
        fresh.counter = RateCounter::fresh(rules.terms(), fresh.now);
        for step in &more {
            prop_assert_eq!(used.available(), fresh.available());
            prop_assert_eq!(used.earliest(1, used.now), fresh.earliest(1, fresh.now));
            used.take(step);
            fresh.take(step);
            prop_assert_eq!(used.now, fresh.now);
        }
    }

    #[test]
    fn not_fresh_can_be_told_from_fresh(rules in all_kinds(), steps in steps(actions())) {
        let history = History::run(rules.clone(), &steps);
        let fresh = RateCounter::fresh(rules.terms(), history.now);
        let same_to = |later: u64| {
            let at = history.now.after(Span(later));
            let all = most(&rules.kind).unwrap();
            history.earliest(all, at) == fresh.earliest(rules.terms(), all, at)
        };
        let is_fresh = history.counter.fresh_in(rules.terms(), history.now).is_zero();
        // A first-request window with little in it shows only near its end.
        prop_assert_eq!(is_fresh, (0..400).all(same_to));
    }

    #[test]
    fn encoded_and_decoded_it_is_the_same(rules in all_kinds(), steps in steps(actions())) {
        let history = History::run(rules, &steps);
        let bytes = minicbor::to_vec(&history.counter).unwrap();
        prop_assert_eq!(minicbor::decode::<RateCounter>(&bytes).unwrap(), history.counter);
        for call in history.calls {
            let bytes = minicbor::to_vec(&call.debit).unwrap();
            prop_assert_eq!(minicbor::decode::<counter::Debit>(&bytes).unwrap(), call.debit);
        }
    }
}
