//! Random resources and stories, small enough that everybody is in everybody's way.

use proptest::{collection::vec, option, prelude::*, sample::select};
use tollgate_limiter::*;

/// Something that happens on the leader.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Ask {
        acquire: Box<Acquire>,
        waited_for: Span,
        patience: Span,
    },
    /// The permit that was granted so many grants ago ends, or goes back.
    Release(usize, Option<u64>, CallOutcome),
    GiveBack(usize),
    /// How the call of the one that was granted so many grants ago ended, while it is still held.
    Report(usize, CallOutcome),
    /// The vendor of the resource refuses or fails, and may say how long it wants nothing.
    Answer(ResourceName, CallOutcome, Option<Span>),
    /// The vendor refuses the call of the one that was granted so many grants ago, for that one of its limits and for so long.
    Exhaust(usize, LimitName, Span),
    /// The one that entered so many entries ago gives up.
    Cancel(usize),
    Advance(Span),
    /// Time goes by until the queue wants to be woken.
    Sleep,
    /// Something for the resource is proposed, and is applied by the next event.
    Propose(ResourceName),
    Order(Command),
    /// The limits change: all amounts by one.
    Widen(ResourceName),
}

pub(super) fn story(length: usize) -> impl Strategy<Value = Vec<Event>> {
    let ask = (acquire(), select(vec![0, 0, 0, 3, 40]), select(vec![0, 2, 30, 30, 600])).prop_map(
        |(acquire, waited, patience)| Event::Ask {
            acquire: Box::new(acquire),
            waited_for: Span::from_secs(waited),
            patience: Span::from_secs(patience),
        },
    );
    let advance =
        prop_oneof![(0u64..3_000).prop_map(Span::from_millis), (0u64..60).prop_map(Span::from_secs)];
    let event = prop_oneof![
        20 => ask,
        5 => (0usize..6, option::weighted(0.2, 0u64..4), outcome())
            .prop_map(|(at, cost, outcome)| Event::Release(at, cost, outcome)),
        1 => (0usize..6).prop_map(Event::GiveBack),
        1 => (0usize..6, outcome()).prop_map(|(at, outcome)| Event::Report(at, outcome)),
        1 => (resource_name(), outcome(), option::of(select(vec![1, 4]).prop_map(Span::from_secs)))
            .prop_map(|(resource, outcome, wait)| Event::Answer(resource, outcome, wait)),
        1 => (0usize..6, select(vec!["limit-0", "limit-1"]), select(vec![1, 4]))
            .prop_map(|(at, limit, wait)| {
                Event::Exhaust(at, LimitName::new(limit).unwrap(), Span::from_secs(wait))
            }),
        3 => (0usize..8).prop_map(Event::Cancel),
        2 => advance.prop_map(Event::Advance),
        8 => Just(Event::Sleep),
        1 => resource_name().prop_map(Event::Propose),
        1 => order().prop_map(Event::Order),
        1 => resource_name().prop_map(Event::Widen),
    ];
    vec(event, 1..length)
}

/// Two, with several limits each, and sometimes budgets.
pub(super) fn any_resources() -> impl Strategy<Value = Vec<Resource>> {
    let limits = || vec(limit(), 1..4);
    let vendor = (option::of(circuit_breaker()), feedback());
    (limits(), limits(), ageing(), any::<bool>(), vendor).prop_map(
        |(one, other, ageing, is_budgeted, (circuit_breaker, feedback))| {
            let budgets = if is_budgeted { budgets(&one[0]) } else { vec![] };
            let circuit_breaker = circuit_breaker.map(Box::new);
            let acme = resource("acme", one, ageing);
            vec![
                Resource { budgets, circuit_breaker, feedback: Box::new(feedback), ..acme },
                resource("zeta", other, ageing),
            ]
        },
    )
}

/// One that opens soon, and not for long.
fn circuit_breaker() -> impl Strategy<Value = CircuitBreaker> {
    let scope = select(vec![Scope::Resource, Scope::Key]);
    (scope, 1u32..3, 1u32..3, select(vec![1, 60])).prop_map(
        |(scope, consecutive_failures, probes, timeout)| CircuitBreaker {
            scope,
            consecutive_failures,
            open_for: Span::from_secs(2),
            max_open_for: Span::from_secs(5),
            probes,
            probe_timeout: Span::from_secs(timeout),
            ..CircuitBreaker::default()
        },
    )
}

fn feedback() -> impl Strategy<Value = FeedbackRules> {
    (select(vec![0, 3]), select(vec![1, 20])).prop_map(|(ramp, recovery)| FeedbackRules {
        ramp: Span::from_secs(ramp),
        pace_recovery: Span::from_secs(recovery),
        ..FeedbackRules::default()
    })
}

fn outcome() -> impl Strategy<Value = CallOutcome> {
    use CallOutcome::*;
    select(vec![Ok, Ok, Ok, ClientError, ServerError, Timeout, Throttled, NotSent, Unknown])
}

/// One limit of the whole resource, without keys, and consumers of different weights.
pub(super) fn one_limit() -> impl Strategy<Value = Resource> + Clone {
    (kind(), ageing(), 1u32..4).prop_map(|(kind, ageing, weight)| Resource {
        keys: vec![],
        budgets: vec![budget("some", Some("sync"), weight, vec![])],
        ..resource("acme", vec![(kind, Scope::Resource, None, false)], ageing)
    })
}

/// A third of the first limit is kept for one consumer, and all others together have two thirds at most.
pub(super) fn budgets(limit: &LimitParts) -> Vec<Budget> {
    let (kind, scope, ..) = limit;
    let is_shared = matches!(scope, Scope::Resource | Scope::Key);
    if kind.amount() < 3 || !is_shared || matches!(kind, LimitKind::LeakyBucket(_)) {
        return vec![];
    }
    let share = |reserve_percent, ceiling_percent| {
        vec![BudgetShare { limit: LimitName::new("limit-0").unwrap(), reserve_percent, ceiling_percent }]
    };
    vec![budget("kept", Some("sync"), 2, share(34, 100)), budget("others", None, 1, share(0, 67))]
}

fn budget(name: &str, consumer: Option<&str>, weight: u32, shares: Vec<BudgetShare>) -> Budget {
    Budget {
        name: BudgetName::new(name).unwrap(),
        consumers: consumer.map(label).into_iter().collect(),
        unbudgeted: consumer.is_none(),
        weight,
        shares,
        schedule: None,
    }
}

pub(super) type LimitParts = (LimitKind, Scope, Option<&'static str>, bool);

pub(super) fn resource(name: &str, limits: Vec<LimitParts>, ageing: Span) -> Resource {
    let limits = (0..).zip(limits).map(|(index, (kind, scope, operations, shadow))| Limit {
        name: LimitName::new(&format!("limit-{index}")).unwrap(),
        operations: operations.map(|pattern| Label::new(pattern).unwrap()).into_iter().collect(),
        dimension: None,
        scope,
        max_scope_values: 100,
        shadow,
        kind,
    });
    Resource {
        name: ResourceName::new(name).unwrap(),
        limits: limits.collect(),
        keys: vec![label("blue"), label("green")],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::from_secs(60),
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing { max_waiters: 12, max_waiters_per_consumer: 8, ageing },
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

fn limit() -> impl Strategy<Value = LimitParts> {
    let scope = select(vec![Scope::Resource, Scope::Resource, Scope::Key, Scope::Consumer, Scope::Subject]);
    (kind(), scope, select(vec![None, None, Some("search")]), prop::bool::weighted(0.1))
}

fn kind() -> impl Strategy<Value = LimitKind> + Clone {
    let token = (4u64..7, 1u64..4).prop_map(|(capacity, refill_amount)| {
        LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period: Span::from_secs(1) })
    });
    let fixed = (4u64..7, select(vec![5, 30])).prop_map(|(amount, period)| {
        let (period, anchor) = (Span::from_secs(period), Anchor::Epoch);
        LimitKind::FixedWindow(FixedWindow { amount, period, anchor, max_clock_skew: Span::ZERO })
    });
    let leaky = (4u64..7)
        .prop_map(|amount| LimitKind::LeakyBucket(LeakyBucket { amount, period: Span::from_secs(2) }));
    let slots = (1u32..4, select(vec![2, 50])).prop_map(|(slots, lease)| {
        LimitKind::Concurrency(Concurrency {
            slots,
            lease_default: Span::from_secs(lease),
            lease_max: Span::from_secs(100),
            grace: Span::from_millis(500),
            counts_after: Span::ZERO,
            quarantine: Span::ZERO,
        })
    });
    prop_oneof![3 => token, 1 => fixed, 1 => leaky, 3 => slots]
}

fn acquire() -> impl Strategy<Value = Acquire> {
    let who = (select(vec!["sync", "export", "web"]), select(vec!["jane", "joe"]));
    let what = (select(vec!["", "search"]), 1u64..5, select(vec!["", "", "blue", "green"]));
    let priority = select(vec![Priority::High, Priority::Medium, Priority::Medium, Priority::Low]);
    let coalesce_key = option::weighted(0.25, select(vec!["k1", "k2"]));
    let how =
        (priority, option::weighted(0.1, select(vec!["r1", "r2"])), prop::bool::weighted(0.2), coalesce_key);
    (resource_name(), who, what, how).prop_map(
        |(resource, (consumer, subject), (operation, cost, key), (priority, request_id, either, call))| {
            let other = if resource.as_str() == "acme" { "zeta" } else { "acme" };
            let other = Alternative {
                resource: ResourceName::new(other).unwrap(),
                operation: label(operation),
                cost: 1,
                amounts: Default::default(),
                key: Label::default(),
            };
            Acquire {
                resource,
                operation: label(operation),
                cost,
                amounts: Default::default(),
                consumer: label(consumer),
                subject: label(subject),
                key: label(key),
                priority,
                lease: None,
                request_id: request_id.map(|id| RequestId::new(id).unwrap()),
                alternatives: if either && call.is_none() { vec![other] } else { vec![] },
                coalesce_key: call.map(|key| CoalesceKey::new(key).unwrap()),
            }
        },
    )
}

fn order() -> impl Strategy<Value = Command> {
    let of = || (resource_name(), select(vec!["", "blue"]));
    let lasts = option::weighted(0.8, select(vec![500, 20_000]).prop_map(Span::from_millis));
    let pause = (of(), lasts).prop_map(|((resource, key), left)| {
        let pause = Pause { left, reason: Label::default() };
        Command::PauseResource(PauseResource { resource, key: label(key), pause })
    });
    let resume = of()
        .prop_map(|(resource, key)| ResumeResource { resource, key: label(key), all_keys: true })
        .prop_map(Command::ResumeResource);
    let state = select(vec![KeyState::Active, KeyState::Active, KeyState::Draining]);
    let key = (resource_name(), state).prop_map(|(resource, state)| {
        Command::SetKeyState(SetKeyState { resource, key: label("blue"), state })
    });
    prop_oneof![2 => pause, 3 => resume, 1 => key]
}

fn ageing() -> impl Strategy<Value = Span> + Clone {
    select(vec![1, 10, 3600]).prop_map(Span::from_secs)
}

fn resource_name() -> impl Strategy<Value = ResourceName> {
    select(vec!["acme", "acme", "zeta"]).prop_map(|name| ResourceName::new(name).unwrap())
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}
