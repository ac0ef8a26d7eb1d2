use prost::Message;
use prost_types::Duration;
use tollgate_limiter::{Anchor, Command, LimitKind, PermitId, Priority, Span, StoredResource};
use tollgate_proto::v1::{self, limit::Kind};
use tonic::Code;

use super::{definition::definition, permit::permit_id, resource::resource, *};
use crate::raft::call::Call;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn limit(kind: Kind) -> v1::Limit {
    v1::Limit { name: "l".into(), kind: Some(kind), ..Default::default() }
}

fn with_limits(limits: Vec<v1::Limit>) -> v1::Resource {
    v1::Resource { name: "vendor/account".into(), limits, ..Default::default() }
}

fn with_limit(kind: Kind) -> v1::Resource {
    with_limits(vec![limit(kind)])
}

fn defined(kind: Kind) -> tollgate_limiter::Resource {
    definition(with_limit(kind)).unwrap_or_else(|invalid| panic!("{invalid:?}"))
}

fn wrong_fields(wire: v1::Resource) -> Vec<String> {
    definition(wire).expect_err("this should be refused").0.into_iter().map(|wrong| wrong.field).collect()
}

fn sliding(period: Option<Duration>) -> Kind {
    Kind::SlidingWindow(v1::SlidingWindow { amount: 10, period, resolution: 0 })
}

fn concurrency(lease_default: Option<Duration>, lease_max: Option<Duration>) -> v1::Concurrency {
    v1::Concurrency { slots: 2, lease_default, lease_max, ..Default::default() }
}

#[test]
fn an_acquire_is_filled_with_its_defaults() {
    let request =
        v1::AcquirePermitRequest { resource: "vendor/account".into(), attempt: 3, ..Default::default() };
    let Ok(Call::Command { command: Command::Acquire(acquire), attempt, wait: None }) =
        acquire::call(request, PATIENCE).map(|(_, call)| call)
    else {
        panic!("an acquire of just a resource is complete")
    };
    // Of no cost: what its resource says.
    assert_eq!((acquire.cost, acquire.priority, attempt), (0, Priority::Medium, 3));
    assert_eq!((acquire.lease, &acquire.request_id), (None, &None));
}

#[test]
fn windows_are_filled_with_their_defaults() {
    let sub_second = defined(sliding(Some(Duration { seconds: 1, nanos: 0 })));
    assert_eq!(sub_second.dispatch_tolerance, Span::from_millis(50));
    let LimitKind::SlidingWindow(window) = &sub_second.limits[0].kind else { panic!() };
    assert_eq!((window.resolution, sub_second.limits[0].max_scope_values), (100, 10_000));
    assert_eq!(sub_second.settle_within, Span::from_secs(60));

    assert_eq!(defined(sliding(seconds(3600))).dispatch_tolerance, Span::from_millis(500));
    assert_eq!(
        defined(Kind::Concurrency(concurrency(None, None))).dispatch_tolerance,
        Span::from_millis(500)
    );

    let fixed = |anchor: v1::Anchor, period| v1::FixedWindow {
        amount: 5,
        period,
        anchor: anchor.into(),
        ..Default::default()
    };
    for (wire, anchor, period, skew) in [
        (fixed(v1::Anchor::Unspecified, seconds(60)), Anchor::Epoch, 60, Span::from_millis(600)),
        (fixed(v1::Anchor::Epoch, seconds(3600)), Anchor::Epoch, 3600, Span::from_secs(1)),
        (fixed(v1::Anchor::FirstRequest, seconds(60)), Anchor::FirstRequest, 60, Span::ZERO),
        (
            fixed(v1::Anchor::Midnight, None),
            Anchor::Midnight(tollgate_limiter::TimeZoneName::new("UTC").unwrap()),
            86_400,
            Span::from_secs(1),
        ),
    ] {
        let resource = defined(Kind::FixedWindow(wire));
        let LimitKind::FixedWindow(window) = &resource.limits[0].kind else { panic!() };
        assert_eq!((&window.anchor, window.period), (&anchor, Span::from_secs(period)));
        assert_eq!(window.max_clock_skew, skew, "{anchor:?}");
    }
}

#[test]
fn one_lease_fills_the_other() {
    for (default, max, expected) in [
        (None, None, (60_000, 600_000, 5_000)),
        (seconds(30), None, (30_000, 600_000, 3_000)),
        (seconds(3600), None, (3_600_000, 3_600_000, 5_000)),
        (None, seconds(10), (10_000, 10_000, 1_000)),
        (seconds(5), seconds(7), (5_000, 7_000, 500)),
    ] {
        let resource = defined(Kind::Concurrency(concurrency(default, max)));
        let LimitKind::Concurrency(slots) = resource.limits[0].kind else { panic!() };
        let read = [slots.lease_default, slots.lease_max, slots.grace].map(|span| span.0 / 1_000_000);
        assert_eq!(read, [expected.0, expected.1, expected.2], "{default:?} {max:?}");
    }
}

#[test]
fn a_definition_survives_the_wire() {
    let wire = with_limits(vec![
        limit(sliding(seconds(10))),
        v1::Limit { name: "slots".into(), ..limit(Kind::Concurrency(concurrency(None, None))) },
        v1::Limit {
            name: "daily".into(),
            operations: vec!["search/*".into()],
            dimension: "tokens".into(),
            scope: v1::Scope::Consumer.into(),
            max_scope_values: 9,
            shadow: true,
            kind: Some(Kind::FixedWindow(v1::FixedWindow {
                amount: 7,
                anchor: v1::Anchor::Midnight.into(),
                time_zone: "Europe/Berlin".into(),
                ..Default::default()
            })),
        },
    ]);
    let first = definition(wire).unwrap();
    let spelt_out = resource(StoredResource::new(first.clone(), 4));
    assert_eq!(spelt_out.generation, 4);
    assert_eq!(definition(spelt_out), Ok(first));
}

#[test]
fn each_wrong_field_of_a_definition_is_named() {
    let fixed = |edit: fn(&mut v1::FixedWindow)| {
        let mut window = v1::FixedWindow { amount: 5, period: seconds(60), ..Default::default() };
        edit(&mut window);
        with_limit(Kind::FixedWindow(window))
    };
    let edited = |edit: fn(&mut v1::Resource)| {
        let mut resource = with_limit(sliding(seconds(10)));
        edit(&mut resource);
        resource
    };
    let cases = [
        (edited(|r| r.name = String::new()), "name"),
        (edited(|r| r.name = "Upper".into()), "name"),
        (edited(|r| r.name = "a".repeat(201)), "name"),
        (edited(|r| r.name = "a//b".into()), "name"),
        (edited(|r| r.description = "d".repeat(1001)), "description"),
        (edited(|r| r.keys = vec!["k".repeat(201)]), "keys[0]"),
        (edited(|r| r.dispatch_tolerance = seconds(-1)), "dispatch_tolerance"),
        (edited(|r| r.settle_within = seconds(i64::MAX)), "settle_within"),
        (edited(|r| r.limits[0].name = "a b".into()), "limits[0].name"),
        (edited(|r| r.limits[0].name = "n".repeat(65)), "limits[0].name"),
        (edited(|r| r.limits[0].operations = vec!["ok".into(), "\n".into()]), "limits[0].operations[1]"),
        (edited(|r| r.limits[0].dimension = "In Tokens".into()), "limits[0].dimension"),
        (edited(|r| r.limits[0].scope = 9), "limits[0].scope"),
        (edited(|r| r.limits[0].kind = None), "limits[0].kind"),
        (with_limit(sliding(None)), "limits[0].sliding_window.period"),
        (with_limit(sliding(Some(Duration { seconds: 1, nanos: -5 }))), "limits[0].sliding_window.period"),
        (
            with_limit(sliding(Some(Duration { seconds: 0, nanos: 1_000_000_000 }))),
            "limits[0].sliding_window.period",
        ),
        (fixed(|w| w.anchor = 12), "limits[0].fixed_window.anchor"),
        (fixed(|w| w.time_zone = "UTC".into()), "limits[0].fixed_window.time_zone"),
        (fixed(|w| w.period = None), "limits[0].fixed_window.period"),
        (
            fixed(|w| (w.anchor, w.time_zone) = (v1::Anchor::Midnight.into(), "Mars/Olympus".into())),
            "limits[0].fixed_window.time_zone",
        ),
        (
            with_limit(Kind::Concurrency(concurrency(seconds(-3), None))),
            "limits[0].concurrency.lease_default",
        ),
        (
            with_limit(Kind::TokenBucket(v1::TokenBucket {
                capacity: 1,
                refill_amount: 1,
                refill_period: None,
            })),
            "limits[0].token_bucket.refill_period",
        ),
    ];
    for (wire, field) in cases {
        let description = format!("{field}: {wire:?}");
        assert_eq!(wrong_fields(wire), [field], "{description}");
    }
}

#[test]
fn each_rule_that_spans_fields_names_one_of_them() {
    let edited = |kind: Kind, edit: fn(&mut v1::Resource)| {
        let mut resource = with_limit(kind);
        edit(&mut resource);
        resource
    };
    let rolling = || sliding(seconds(10));
    let slots = |lease_default, lease_max| Kind::Concurrency(concurrency(lease_default, lease_max));
    let midnight = |period, max_clock_skew| {
        Kind::FixedWindow(v1::FixedWindow {
            amount: 5,
            anchor: v1::Anchor::Midnight.into(),
            period,
            max_clock_skew,
            ..Default::default()
        })
    };
    let bucket = |capacity| {
        Kind::TokenBucket(v1::TokenBucket { capacity, refill_amount: 1, refill_period: seconds(1) })
    };
    let cases = [
        (edited(rolling(), |r| r.limits.clear()), "limits"),
        (edited(rolling(), |r| r.limits = vec![r.limits[0].clone(); 33]), "limits"),
        (edited(rolling(), |r| r.limits.push(r.limits[0].clone())), "limits[1].name"),
        (edited(rolling(), |r| r.limits[0].scope = v1::Scope::Key.into()), "limits[0].scope"),
        (edited(rolling(), |r| r.limits[0].max_scope_values = 1_000_001), "limits[0].max_scope_values"),
        (edited(rolling(), |r| r.limits[0].operations = vec!["o".into(); 33]), "limits[0].operations"),
        (edited(rolling(), |r| r.keys = vec!["k".into(), "k".into()]), "keys[1]"),
        (edited(rolling(), |r| r.keys = vec![String::new()]), "keys[0]"),
        (edited(rolling(), |r| r.dispatch_tolerance = seconds(5)), "dispatch_tolerance"),
        (edited(rolling(), |r| r.settle_within = seconds(3601)), "settle_within"),
        (edited(slots(None, None), |r| r.limits[0].dimension = "tokens".into()), "limits[0].dimension"),
        (with_limit(sliding(seconds(0))), "limits[0].sliding_window.period"),
        (with_limit(sliding(seconds(401 * 86_400))), "limits[0].sliding_window.period"),
        (with_limit(bucket(0)), "limits[0].token_bucket.capacity"),
        (with_limit(bucket(u64::MAX)), "limits[0].token_bucket.capacity"),
        (with_limit(slots(seconds(0), None)), "limits[0].concurrency.lease_default"),
        (with_limit(slots(seconds(20), seconds(10))), "limits[0].concurrency.lease_default"),
        (with_limit(slots(None, seconds(86_401))), "limits[0].concurrency.lease_max"),
        (with_limit(midnight(seconds(43_200), None)), "limits[0].fixed_window.period"),
        (with_limit(midnight(None, seconds(86_400))), "limits[0].fixed_window.max_clock_skew"),
    ];
    for (wire, field) in cases {
        let description = format!("{field}: {wire:?}");
        let wrong = wrong_fields(wire);
        assert!(wrong.iter().any(|named| named == field), "{description}: {wrong:?}");
    }
}

#[test]
fn all_wrong_fields_come_at_once_and_their_number_is_bounded() {
    let bad = v1::Limit { name: "A".into(), scope: 7, ..Default::default() };
    let wire = v1::Resource { name: "B".into(), limits: vec![bad.clone()], ..Default::default() };
    assert_eq!(wrong_fields(wire), ["name", "limits[0].name", "limits[0].scope", "limits[0].kind"]);
    assert_eq!(wrong_fields(with_limits(vec![bad; 1000])).len(), fields::VIOLATIONS_MAX);
}

#[test]
fn only_ids_that_were_given_out_name_a_permit() {
    assert_eq!(permit_id(PermitId(42)), "p0-2a");
    for id in [0, 1, 42, u64::MAX] {
        let request = v1::RenewPermitRequest { permit_id: permit_id(PermitId(id)), lease: None };
        let Ok(Call::Command { command: Command::Renew(renew), .. }) = permit::renew(&request) else {
            panic!("{id}")
        };
        assert_eq!(renew.permit, PermitId(id));
    }
    let strangers = [
        "p1-2a",
        "p0-2A",
        "p0-02a",
        "p0-+2a",
        "p0-",
        "p0",
        "2a",
        "p0-10000000000000000",
        "p0-2a ",
        "ü",
        "p00-1",
    ];
    for stranger in strangers {
        let renew = permit::renew(&v1::RenewPermitRequest { permit_id: stranger.into(), lease: None });
        let release = permit::release(
            v1::ReleasePermitRequest { permit_id: stranger.into(), ..Default::default() },
            &feedback::Receipt::default(),
        );
        for failure in [renew.unwrap_err(), release.unwrap_err()] {
            let error = failure.into_call_error();
            assert_eq!(
                (error.code, error.reason.as_str()),
                (Code::NotFound.into(), "PERMIT_NOT_FOUND"),
                "{stranger}"
            );
        }
    }
}

#[test]
fn durations_are_exact_both_ways() {
    for span in [Span(0), Span(1), Span(999_999_999), Span(1_000_000_000), Span(u64::MAX)] {
        let mut fields = Fields::default();
        assert_eq!(fields.span("field", Some(duration(span))), span);
        assert_eq!(fields.finish(Some(())), Ok(()));
    }
}

#[test]
fn budgets_and_queues_are_filled_with_their_defaults() {
    let hours = |from: &str, to: &str| v1::OpenHours { weekdays: vec![], from: from.into(), to: to.into() };
    let budget = v1::Budget {
        name: "crm".into(),
        consumers: vec!["crm/*".into()],
        shares: vec![v1::BudgetShare { limit: "l".into(), ..Default::default() }],
        schedule: Some(v1::Schedule {
            open: vec![hours("", ""), hours("18:30", "00:00")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let wire = v1::Resource { budgets: vec![budget], max_waiters: 7, ..with_limit(sliding(seconds(1))) };
    let defined = definition(wire).unwrap();
    let budget = &defined.budgets[0];
    assert_eq!(
        (budget.weight, budget.shares[0].reserve_percent, budget.shares[0].ceiling_percent),
        (1, 0, 100)
    );
    let schedule = budget.schedule.as_ref().unwrap();
    let open: Vec<_> = schedule.open.iter().map(|hours| (hours.weekdays, hours.from, hours.to)).collect();
    assert_eq!((schedule.time_zone.as_str(), open), ("UTC", vec![(0x7f, 0, 1440), (0x7f, 1110, 1440)]));
    let queueing = defined.queueing;
    assert_eq!((queueing.max_waiters, queueing.max_waiters_per_consumer), (7, 4));
    assert_eq!(queueing.ageing, Span::from_secs(30));
}

#[test]
fn a_wrong_budget_names_its_fields() {
    let budget = |edit: fn(&mut v1::Budget)| {
        let mut budget =
            v1::Budget { name: "crm".into(), consumers: vec!["crm".into()], ..Default::default() };
        edit(&mut budget);
        wrong_fields(v1::Resource { budgets: vec![budget], ..with_limit(sliding(seconds(1))) })
    };
    fn opened(budget: &mut v1::Budget, weekdays: Vec<i32>, from: &str, to: &str) {
        let open = vec![v1::OpenHours { weekdays, from: from.into(), to: to.into() }];
        budget.schedule = Some(v1::Schedule { time_zone: String::new(), open });
    }
    for (fields, expected) in [
        (budget(|budget| budget.name = "Not A Name".into()), "budgets[0].name"),
        (budget(|budget| budget.consumers = vec!["\u{7}".into()]), "budgets[0].consumers[0]"),
        (budget(|budget| budget.weight = 1_001), "budgets[0].weight"),
        (budget(|budget| budget.shares = vec![Default::default()]), "budgets[0].shares[0].limit"),
        (budget(|budget| budget.schedule = Some(Default::default())), "budgets[0].schedule.open"),
        (budget(|budget| opened(budget, vec![0], "", "")), "budgets[0].schedule.open[0].weekdays[0]"),
        (budget(|budget| opened(budget, vec![1, 8], "", "")), "budgets[0].schedule.open[0].weekdays[1]"),
        (budget(|budget| opened(budget, vec![], "8:00", "")), "budgets[0].schedule.open[0].from"),
        (budget(|budget| opened(budget, vec![], "24:00", "")), "budgets[0].schedule.open[0].from"),
        (budget(|budget| opened(budget, vec![], "", "24:01")), "budgets[0].schedule.open[0].to"),
        (budget(|budget| opened(budget, vec![], "", "+1:00")), "budgets[0].schedule.open[0].to"),
    ] {
        assert_eq!(fields, [expected]);
    }
    let queue =
        v1::Resource { max_waiters: 5, max_waiters_per_consumer: 6, ..with_limit(sliding(seconds(1))) };
    assert_eq!(wrong_fields(queue), ["max_waiters_per_consumer"]);
}

#[test]
fn figures_stay_small_enough_to_be_read() {
    let text = tollgate_limiter::Label::new(&"x".repeat(200)).unwrap();
    let held = tollgate_limiter::HeldSlot {
        limit: tollgate_limiter::LimitName::new("slots").unwrap(),
        scope_value: text.clone(),
        index: 1,
        generation: 1,
        permit: PermitId(1),
        consumer: text.clone(),
        subject: text.clone(),
        operation: text.clone(),
        held_for: Span(1),
        lease_left: Span(1),
    };
    let limit = tollgate_limiter::LimitName::new(&"l".repeat(64)).unwrap();
    let of = tollgate_limiter::BudgetUse {
        limit: limit.clone(),
        scope_value: text.clone(),
        reserve: u64::MAX,
        reserve_left: u64::MAX,
        ceiling: u64::MAX,
        used: u64::MAX,
    };
    let budget = tollgate_limiter::BudgetFigures {
        budget: limit.clone(),
        open: true,
        changes_in: Some(Span(1)),
        uses: vec![of; 3_200],
    };
    let consumer = tollgate_limiter::ConsumerFigures {
        consumer: text,
        budget: None,
        waiting: [0; 3],
        oldest_wait: None,
        uses: vec![tollgate_limiter::ConsumerUse { limit, used: u64::MAX }; 32],
    };
    let stored = StoredResource::new(defined(sliding(seconds(1))), 1);
    let usage = tollgate_limiter::ResourceUsage {
        stored,
        limits: vec![],
        held: vec![held; 10_000],
        settleable_permits: 0,
        budgets: vec![budget; 32],
        consumers: vec![consumer; 1_000],
        waiting: 0,
    };
    let figures = usage::figures(usage);
    assert!(figures.encoded_len() < 4 << 20 && figures.held.len() > 1_000);
    assert!(figures.budgets.len() == 32 && figures.budgets.iter().all(|budget| budget.uses.len() > 50));
    assert!(figures.consumers.len() > 200);
}
