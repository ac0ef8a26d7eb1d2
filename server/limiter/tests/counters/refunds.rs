//! Refund and settlement conserve: nothing is lost that could be given back, nothing is given back twice.

use proptest::prelude::*;
use tollgate_limiter::{counter::RateCounter, *};

use crate::script::*;

/// All kinds whose state does not depend on which call came first.
fn amount_kinds() -> impl Strategy<Value = Rules> {
    prop_oneof![token_buckets(), epoch_windows(), sliding_windows()]
}

/// The same history, but calls that were later refunded or settled weighed what they truly weighed from the beginning.
fn had_it_been_known(history: &History) -> History {
    let mut known = History::new(history.rules.clone());
    for call in &history.calls {
        known.now = call.at;
        if call.sent {
            known.debit(call.amount);
        }
    }
    known.now = history.now;
    known
}

proptest! {
    #[test]
    fn what_is_given_back_is_what_would_be_there_without(
        rules in amount_kinds(),
        steps in steps(prop_oneof![4 => acquires(), 2 => forces(), 2 => refunds(), 2 => settlements()]),
    ) {
        let history = History::run(rules, &steps);
        prop_assert_eq!(history.available(), had_it_been_known(&history).available());
    }

    #[test]
    fn a_leaky_bucket_gives_back_no_more_than_that(
        rules in leaky_buckets(),
        steps in steps(prop_oneof![4 => acquires(), 2 => forces(), 2 => refunds(), 2 => settlements()]),
    ) {
        let history = History::run(rules, &steps);
        let known = had_it_been_known(&history);
        let next = |history: &History| history.earliest(1, history.now).unwrap().cluster;
        prop_assert!(next(&history) >= next(&known));
    }

    #[test]
    fn settled_at_once_it_is_as_if_the_true_amount_had_been_asked_for(
        rules in all_kinds(),
        steps in steps(prop_oneof![5 => acquires(), 1 => forces()]),
        guess in 1..12u64,
        truth in 1..40u64,
    ) {
        let mut guessed = History::run(rules.clone(), &steps);
        let mut knew = guessed.clone();
        let mut debit = guessed.counter.debit(rules.terms(), guess, guessed.now);
        guessed.counter.correct(rules.terms(), &mut debit, truth, guessed.now);
        knew.debit(truth);
        prop_assert_eq!(debit.amount(), truth);
        prop_assert_eq!(guessed.available(), knew.available());
        prop_assert_eq!(guessed.earliest(1, guessed.now), knew.earliest(1, knew.now));
    }

    /// A counter that cannot be told from a fresh one may be dropped, and be made again for the next call.
    #[test]
    fn a_debit_of_a_counter_that_was_dropped_takes_nothing_from_its_successor(
        rules in all_kinds(),
        steps in steps(prop_oneof![4 => acquires(), 2 => forces(), 1 => refunds(), 1 => settlements()]),
        amounts in prop::collection::vec(1..9u64, 1..20),
    ) {
        let mut history = History::run(rules.clone(), &steps);
        history.now = history.now.after(history.counter.fresh_in(rules.terms(), history.now));
        history.counter = RateCounter::fresh(rules.terms(), history.now);
        let mut dropped = std::mem::take(&mut history.calls);
        amounts.iter().for_each(|amount| history.debit(*amount));
        let used = history.counter.used(rules.terms(), history.now);
        for call in &mut dropped {
            history.counter.correct(rules.terms(), &mut call.debit, 0, history.now);
            prop_assert_eq!(history.counter.used(rules.terms(), history.now), used);
        }
    }

    #[test]
    fn refunded_at_once_in_any_order_it_is_as_before(
        rules in all_kinds(),
        steps in steps(acquires()),
        // With the steps before, as many as a bucket remembers exactly.
        mut amounts in prop::collection::vec(1..9u64, 1..6),
        backwards in any::<bool>(),
    ) {
        if matches!(rules.kind, LimitKind::LeakyBucket(_)) {
            // It grants one at a time, and only the youngest is not paid for.
            amounts.truncate(1);
        }
        let before = History::run(rules.clone(), &steps);
        let mut after = before.clone();
        let mut debits: Vec<_> =
            amounts.iter().map(|amount| after.counter.debit(rules.terms(), *amount, after.now)).collect();
        if backwards {
            debits.reverse();
        }
        for debit in &mut debits {
            after.counter.refund(rules.terms(), debit, after.now);
            prop_assert_eq!(debit.amount(), 0);
        }
        if !matches!(rules.kind, LimitKind::FixedWindow(FixedWindow { anchor: Anchor::FirstRequest, .. })) {
            prop_assert_eq!(after.available(), before.available());
        }
        prop_assert!(after.counter.used(rules.terms(), after.now) == before.counter.used(rules.terms(), before.now));
    }
}

/// With capacity 10 and one token a nanosecond: the five would be worth fifteen.
#[test]
fn a_refund_after_the_bucket_was_full_again_is_worth_nothing() {
    let kind = LimitKind::TokenBucket(TokenBucket { capacity: 10, refill_amount: 1, refill_period: Span(1) });
    let mut history = History::new(Rules { kind, tolerance: Span::ZERO });
    let terms = history.rules.clone();
    let mut early = history.counter.debit(terms.terms(), 5, history.now);
    history.now = history.now.after(Span(5));
    history.debit(10);
    history.counter.refund(terms.terms(), &mut early, history.now);
    assert_eq!(history.available(), 0);
}

/// More dips than are remembered: what is forgotten is never on the wrong side.
#[test]
fn a_long_climb_gives_back_too_little_rather_than_too_much() {
    let kind = LimitKind::TokenBucket(TokenBucket {
        capacity: 1_000,
        refill_amount: 1,
        refill_period: Span(1_000_000),
    });
    let mut history = History::new(Rules { kind, tolerance: Span::ZERO });
    (0..500).for_each(|_| history.debit(1));
    let rules = history.rules.clone();
    for index in 0..500 {
        history.counter.refund(rules.terms(), &mut history.calls[index].debit, history.now);
    }
    assert!((564..=1_000).contains(&history.available()), "{}", history.available());
}

/// The opener was not sent: the vendor's window opened with the second call, and ends by that.
#[test]
fn a_window_whose_opener_was_not_sent_is_kept_until_the_others_have_left_it() {
    let kind = fixed_window(3, 100, Anchor::FirstRequest, 0);
    let mut history = History::new(Rules { kind, tolerance: Span(10) });
    let rules = history.rules.clone();
    let opened = history.now;
    history.debit(1);
    history.now = opened.after(Span(50));
    history.debit(2);
    assert_eq!(history.earliest(1, history.now), Some(opened.after(Span(110))));
    history.counter.refund(rules.terms(), &mut history.calls[0].debit, history.now);
    assert_eq!(history.available(), 1);
    assert_eq!(history.earliest(2, history.now), Some(opened.after(Span(160))));
    history.counter.refund(rules.terms(), &mut history.calls[1].debit, history.now);
    assert_eq!(history.counter.fresh_in(rules.terms(), history.now), Span::ZERO);
}
