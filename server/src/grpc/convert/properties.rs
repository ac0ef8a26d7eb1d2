//! Whatever the wire brings, reading it neither panics nor lets anything through that breaks a rule; and what is let
//! through survives the way back, over the wire and over a file.

use proptest::{collection::btree_map, option, prelude::*};
use prost_types::Duration;
use tollgate_limiter::{Command, MAX_AMOUNT, Resource, Span, StoredResource};
use tollgate_proto::v1::{self, limit::Kind};

use super::{acquire, definition::definition, permit, resource::resource};
use crate::{raft::call::Call, resource_file};

/// Mostly plausible, sometimes at the edge of what the wire can say.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1..2_000u64, 1 => Just(0), 1 => Just(MAX_AMOUNT), 1 => any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 1..100u32, 1 => any::<u32>()]
}

fn variant() -> impl Strategy<Value = i32> {
    prop_oneof![30 => 0..4i32, 1 => any::<i32>()]
}

fn duration() -> impl Strategy<Value = Option<Duration>> {
    let plausible = (0..100_000i64, 0..1_000i32)
        .prop_map(|(seconds, millis)| Duration { seconds, nanos: millis * 1_000_000 });
    let any = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Duration { seconds, nanos });
    option::weighted(0.9, prop_oneof![30 => plausible, 1 => any])
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![30 => "[a-z][a-z0-9_-]{0,8}", 1 => any::<String>()]
}

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
    fn an_acquire_is_refused_or_within_its_bounds(
        resource in name(),
        cost in option::of(number()),
        amounts in btree_map(name(), number(), 0..20),
        priority in variant(),
        max_wait in duration(),
        lease in duration(),
        request_id in any::<String>(),
        attempt in any::<u32>(),
    ) {
        let request = v1::AcquirePermitRequest {
            resource, cost, amounts, priority, max_wait, lease, request_id, attempt, ..Default::default()
        };
        if let Ok(Call::Command { command: Command::Acquire(acquire), .. }) =
            acquire::call(request, std::time::Duration::from_secs(10))
        {
            prop_assert!((1..=MAX_AMOUNT).contains(&acquire.cost));
            prop_assert!(acquire.amounts.len() <= 16 && acquire.amounts.values().all(|amount| *amount <= MAX_AMOUNT));
            prop_assert!(acquire.lease.is_none_or(|lease| !lease.is_zero() && lease <= Span::from_secs(86_400)));
        }
    }

    #[test]
    fn any_text_is_read_as_a_permit_id_or_not_found(text in prop_oneof!["p0-[0-9a-f]{1,17}", any::<String>()]) {
        let request = v1::RenewPermitRequest { permit_id: text.clone(), lease: None };
        if let Ok(Call::Command { command: Command::Renew(renew), .. }) = permit::renew(&request) {
            prop_assert_eq!(permit::permit_id(renew.permit), text);
        }
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
