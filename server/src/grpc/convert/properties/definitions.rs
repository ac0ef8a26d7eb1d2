//! Definitions: refused, or the same over the wire and over a file.

use proptest::{option, prelude::*};
use tollgate_limiter::{Resource, StoredResource};
use tollgate_proto::v1::{self, limit::Kind};

use super::{
    super::{definition::definition, resource::resource},
    duration, name, number, small, variant,
};
use crate::resource_file;

fn kind() -> impl Strategy<Value = Kind> {
    let token_bucket =
        (number(), number(), duration()).prop_map(|(capacity, refill_amount, refill_period)| {
            Kind::TokenBucket(v1::TokenBucket { capacity, refill_amount, refill_period })
        });
    let leaky_bucket = (number(), duration())
        .prop_map(|(amount, period)| Kind::LeakyBucket(v1::LeakyBucket { amount, period }));
    let zone = prop_oneof![Just(String::new()), Just("Europe/Berlin".to_owned()), any::<String>()];
    let fixed_window = (number(), duration(), variant(), zone, duration()).prop_map(
        |(amount, period, anchor, time_zone, max_clock_skew)| {
            Kind::FixedWindow(v1::FixedWindow { amount, period, anchor, time_zone, max_clock_skew })
        },
    );
    let sliding_window = (number(), duration(), small()).prop_map(|(amount, period, resolution)| {
        Kind::SlidingWindow(v1::SlidingWindow { amount, period, resolution })
    });
    let concurrency = (small(), duration(), duration(), duration(), duration(), duration()).prop_map(
        |(slots, lease_default, lease_max, grace, counts_after, quarantine)| {
            Kind::Concurrency(v1::Concurrency {
                slots,
                lease_default,
                lease_max,
                grace,
                counts_after,
                quarantine,
            })
        },
    );
    prop_oneof![token_bucket, leaky_bucket, fixed_window, sliding_window, concurrency]
}

prop_compose! {
    fn limit()(
        name in name(),
        operations in prop::collection::vec("[a-z*/?]{1,6}", 0..3),
        dimension in prop_oneof![3 => Just(String::new()), 1 => name()],
        scope in variant(),
        max_scope_values in small(),
        shadow in any::<bool>(),
        kind in option::weighted(0.95, kind()),
    ) -> v1::Limit {
        v1::Limit { name, operations, dimension, scope, max_scope_values, shadow, kind }
    }
}

prop_compose! {
    fn hours()(
        weekdays in prop::collection::vec(prop_oneof![30 => 1..8i32, 1 => any::<i32>()], 0..3),
        from in prop_oneof![30 => "[01][0-9]:[0-5][0-9]", 1 => any::<String>()],
        to in prop_oneof![30 => "[01][0-9]:[0-5][0-9]", 5 => Just(String::new()), 1 => any::<String>()],
    ) -> v1::OpenHours {
        v1::OpenHours { weekdays, from, to }
    }
}

prop_compose! {
    fn budget(limits: Vec<String>)(
        name in name(),
        consumers in prop::collection::vec("[a-z*/?]{1,6}", 1..3),
        unbudgeted in prop::bool::weighted(0.1),
        weight in prop_oneof![30 => 0..1_000u32, 1 => any::<u32>()],
        limit in prop::sample::select(limits),
        reserve_percent in prop_oneof![30 => 0..60u32, 1 => any::<u32>()],
        ceiling_percent in option::of(prop_oneof![30 => 60..101u32, 1 => any::<u32>()]),
        hours in prop::collection::vec(hours(), 0..3),
        time_zone in prop_oneof![Just(String::new()), Just("Europe/Berlin".to_owned())],
    ) -> v1::Budget {
        v1::Budget {
            name,
            consumers: if unbudgeted { vec![] } else { consumers },
            unbudgeted,
            weight,
            shares: vec![v1::BudgetShare { limit, reserve_percent, ceiling_percent }],
            schedule: (!hours.is_empty()).then_some(v1::Schedule { time_zone, open: hours }),
        }
    }
}

/// Budgets of limits that are there, for the most part.
fn budgets(limits: &[v1::Limit]) -> impl Strategy<Value = Vec<v1::Budget>> + use<> {
    let names = limits.iter().map(|limit| limit.name.clone()).chain(["other".to_owned()]).collect();
    prop::collection::vec(budget(names), 0..3)
}

prop_compose! {
    fn circuit_breaker()(
        scope in variant(),
        consecutive_failures in option::of(small()),
        failure_percent in option::of(small()),
        minimum_calls in small(),
        (window, open_for, max_open_for, probe_timeout) in (duration(), duration(), duration(), duration()),
        probes in small(),
    ) -> v1::CircuitBreaker {
        v1::CircuitBreaker {
            scope,
            consecutive_failures,
            failure_percent,
            minimum_calls,
            window,
            open_for,
            max_open_for,
            probes,
            probe_timeout,
        }
    }
}

prop_compose! {
    fn feedback()(
        (ramp, pace_recovery, longest_wait) in (duration(), duration(), duration()),
        (ramp_from_percent, pace_floor_percent) in (option::of(small()), option::of(small())),
        trusted_percent in option::of(small()),
        vendor in prop::sample::select(vec!["", "", "hubspot", "nobody"]),
    ) -> v1::FeedbackRules {
        let vendor = vendor.to_owned();
        v1::FeedbackRules {
            ramp,
            ramp_from_percent,
            pace_recovery,
            pace_floor_percent,
            trusted_percent,
            vendor,
            longest_wait,
        }
    }
}

prop_compose! {
    fn operation_cost()(operation in name(), cost in prop_oneof![9 => 1..100u64, 1 => any::<u64>()]) -> v1::OperationCost {
        v1::OperationCost { operation, cost }
    }
}

prop_compose! {
    fn wire_resource()(limits in prop::collection::vec(limit(), 0..3))(
        budgets in budgets(&limits),
        limits in Just(limits),
        name in name(),
        max_waiters in prop_oneof![9 => 0..1_000u32, 1 => any::<u32>()],
        max_waiters_per_consumer in prop_oneof![9 => 0..10u32, 1 => any::<u32>()],
        ageing in option::weighted(0.1, duration()),
        keys in prop::collection::vec(name(), 0..3),
        dispatch_tolerance in option::weighted(0.2, duration()),
        settle_within in option::weighted(0.2, duration()),
        description in any::<String>(),
        circuit_breaker in option::weighted(0.2, circuit_breaker()),
        feedback in option::weighted(0.2, feedback()),
        operation_costs in prop::collection::vec(operation_cost(), 0..3),
    ) -> v1::Resource {
        v1::Resource {
            name,
            limits,
            keys,
            dispatch_tolerance: dispatch_tolerance.flatten(),
            settle_within: settle_within.flatten(),
            description,
            budgets,
            max_waiters,
            max_waiters_per_consumer,
            ageing: ageing.flatten(),
            circuit_breaker,
            feedback,
            operation_costs,
            ..Default::default()
        }
    }
}

fn spelt_out(resource_defined: &Resource) -> v1::Resource {
    resource(StoredResource::new(resource_defined.clone(), 0))
}

proptest! {
    // One definition in ten is let through.
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_definition_is_refused_or_survives_wire_and_file(wire in wire_resource()) {
        let Ok(defined) = definition(wire) else { return Ok(()) };
        prop_assert_eq!(defined.validate(), Ok(()));
        prop_assert_eq!(definition(spelt_out(&defined)), Ok(defined.clone()));

        let text = resource_file::write(&[spelt_out(&defined)]);
        let read = resource_file::read(&text);
        prop_assert!(read.is_ok(), "{:?}\n{}", read, text);
        prop_assert_eq!(definition(read.unwrap().remove(0)), Ok(defined));
    }

    #[test]
    fn any_text_is_read_as_a_file_or_refused(text in any::<String>(), keys in "([a-z\\[\\]=\"{}., \n0-9]|resource|limit|name){0,60}") {
        for text in [text, keys] {
            if let Err(faulty) = resource_file::read(&text) {
                prop_assert!(!faulty.0.is_empty());
            }
        }
    }
}
