//! Random circuit breakers, rules of feedback and reports.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{label, outcome, permit, resource_name};
use crate::model::*;

pub(super) fn circuit_breaker() -> impl Strategy<Value = CircuitBreaker> + Clone {
    let rule = select(vec![(1, 0), (2, 0), (0, 50), (3, 60)]);
    let scope = select(vec![Scope::Resource, Scope::Key]);
    let span = || select(vec![100, 170, 1_000]).prop_map(Span::from_millis);
    (scope, rule, 1u32..4, span(), span(), 0u64..4, 1u32..3, span()).prop_map(
        |(
            scope,
            (consecutive_failures, failure_percent),
            minimum_calls,
            window,
            open_for,
            times,
            probes,
            timeout,
        )| {
            CircuitBreaker {
                scope,
                consecutive_failures,
                failure_percent,
                minimum_calls,
                window,
                open_for,
                max_open_for: Span(open_for.0 * (1 + times)),
                probes,
                probe_timeout: timeout,
            }
        },
    )
}

pub(super) fn feedback_rules() -> impl Strategy<Value = FeedbackRules> + Clone {
    let ramp = select(vec![0, 300, 5_000]).prop_map(Span::from_millis);
    let recovery = select(vec![1_000, 20_000]).prop_map(Span::from_millis);
    (ramp, 1u32..=100, recovery, 1u32..=100, 0u32..=100).prop_map(
        |(ramp, ramp_from_percent, pace_recovery, pace_floor_percent, trusted_percent)| FeedbackRules {
            vendor: Label::default(),
            ramp,
            ramp_from_percent,
            pace_recovery,
            pace_floor_percent,
            trusted_percent,
            longest_wait: HoldBack::LONGEST,
        },
    )
}

pub(super) fn report() -> impl Strategy<Value = Command> + Clone {
    let key = label(&["", "", "blue", "green"]);
    let caller = (label(&["", "search"]), label(&["", "sync"]), label(&["", "jane"]));
    (resource_name(), key, option::of(permit()), outcome(), answer(), caller).prop_map(
        |(resource, key, permit, outcome, answer, (operation, consumer, subject))| {
            Command::from(Report { resource, key, permit, outcome, answer, operation, consumer, subject })
        },
    )
}

pub(super) fn answer() -> impl Strategy<Value = VendorAnswer> + Clone {
    let wait = option::weighted(0.2, select(vec![1, 7, 900, 90_000]).prop_map(Span::from_millis));
    let name = || {
        let names = [
            "token_bucket-resource-cost-0",
            "sliding_window-key-cost-0",
            "fixed_window-resource-cost-1",
            "sliding_window-consumer-cost-0",
            "token_bucket-subject-cost-0",
        ];
        select(names.to_vec()).prop_map(|name| LimitName::new(name).unwrap())
    };
    let told = (name(), option::of(1u64..14), option::of(0u64..14))
        .prop_map(|(limit, amount, remaining)| LimitTold { limit, amount, remaining });
    let cost = option::weighted(0.3, 0u64..20);
    (wait, vec(name(), 0..2), vec(told, 0..3), cost).prop_map(|(wait, exhausted, limits, cost)| {
        VendorAnswer { wait, reason: Label::default(), exhausted, limits, cost }
    })
}
