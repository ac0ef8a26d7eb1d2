//! Random resources and commands, small enough that everything interferes with everything.

mod budget;
mod feedback;

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use self::{
    budget::budget,
    feedback::{answer, circuit_breaker, feedback_rules, report},
};
use crate::model::*;

/// One entry of a log: how long after the last, and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub after: Span,
    pub commands: Vec<Command>,
}

/// A log that begins with the creation of the resources and goes on with whatever `command` gives.
pub(super) fn log(
    command: impl Strategy<Value = Command> + Clone,
    length: usize,
) -> impl Strategy<Value = Vec<Entry>> {
    let entry = (span(), vec(command, 1..4)).prop_map(|(after, commands)| Entry { after, commands });
    (vec(resource(), 2), vec(entry, 1..length)).prop_map(|(resources, entries)| {
        let commands = resources.into_iter().zip(["acme", "zeta"]).map(|(resource, name)| {
            Command::from(Resource { name: ResourceName::new(name).unwrap(), ..resource })
        });
        let create = Entry { after: Span::ZERO, commands: commands.collect() };
        std::iter::once(create).chain(entries).collect()
    })
}

/// Mostly permits, sometimes changes of the resources.
pub(super) fn any_command() -> impl Strategy<Value = Command> + Clone {
    let update = (resource(), resource_name(), 0u64..4).prop_map(|(resource, name, generation)| {
        Command::from(UpdateResource { resource: Resource { name, ..resource }, generation })
    });
    let delete =
        resource_name().prop_map(|name| Command::DeleteResource(DeleteResource { name, generation: 0 }));
    let create = (resource(), resource_name())
        .prop_map(|(resource, name)| Command::from(Resource { name, ..resource }));
    prop_oneof![40 => permit_command(), 2 => update, 1 => delete, 1 => create]
}

pub(super) fn permit_command() -> impl Strategy<Value = Command> + Clone {
    let renew =
        (permit(), option::of(lease())).prop_map(|(permit, lease)| Command::Renew(Renew { permit, lease }));
    let release = (permit(), outcome(), option::of(0u64..9), amounts(), option::weighted(0.2, answer()))
        .prop_map(|(permit, outcome, cost, amounts, answer)| {
            let answer = answer.map(Box::new);
            Command::Release(Release { permit, outcome, cost, amounts, answer, result: None })
        });
    let give_back = permit().prop_map(Command::GiveBack);
    prop_oneof![
        16 => acquire().prop_map(Command::from),
        2 => (acquire(), 0u32..3).prop_map(|(acquire, alternative)| Command::AcquireFrom { acquire: acquire.into(), alternative }),
        6 => renew,
        4 => release,
        2 => give_back,
        2 => order(),
        3 => report(),
    ]
}

/// Pauses and resumptions as often as one another, so that neither keeps everything closed.
fn order() -> impl Strategy<Value = Command> + Clone {
    let of = || (resource_name(), label(&["", "blue", "green"]));
    let lasts = option::weighted(0.8, select(vec![1, 7, 900, 90_000]).prop_map(Span::from_millis));
    let pause = (of(), lasts).prop_map(|((resource, key), left)| {
        Command::PauseResource(PauseResource {
            resource,
            key,
            pause: Pause { left, reason: Label::default() },
        })
    });
    let resume = (of(), any::<bool>()).prop_map(|((resource, key), all_keys)| {
        Command::ResumeResource(ResumeResource { resource, key, all_keys })
    });
    let state = select(vec![KeyState::Active, KeyState::Active, KeyState::Draining, KeyState::Disabled]);
    let key = (resource_name(), label(&["blue", "green"]), state)
        .prop_map(|(resource, key, state)| Command::SetKeyState(SetKeyState { resource, key, state }));
    let wait = select(vec![1, 7, 900, 90_000]).prop_map(Span::from_millis);
    let hold_back = (of(), wait).prop_map(|((resource, key), wait)| {
        Command::HoldBack(HoldBack { called: Called::Of { resource, key }, wait, reason: Label::default() })
    });
    prop_oneof![3 => pause, 4 => resume, 2 => key, 1 => hold_back]
}

pub(super) fn acquire() -> impl Strategy<Value = Acquire> + Clone {
    let request_id = select(vec!["r1", "r2", "r3"]).prop_map(|id| RequestId::new(id).unwrap());
    let who = (label(&["", "search", "batch/x"]), label(&["sync", "export"]), label(&["jane", "joe"]));
    let how = (option::weighted(0.3, lease()), option::weighted(0.2, request_id), label(&["", "", "blue"]));
    let alternative = option::weighted(0.3, (1u64..5, amounts(), label(&["", "search"])));
    (resource_name(), 1u64..5, amounts(), who, how, alternative).prop_map(
        |(resource, cost, amounts, (operation, consumer, subject), (lease, request_id, key), alternative)| {
            Acquire {
                alternatives: alternative
                    .map(|alternative| other_resource(&resource, alternative))
                    .into_iter()
                    .collect(),
                resource,
                operation,
                cost,
                amounts,
                consumer,
                subject,
                key,
                priority: Priority::Medium,
                lease,
                request_id,
                coalesce_key: None,
            }
        },
    )
}

/// For one, of nobody.
pub(super) fn plain_acquire() -> Acquire {
    Acquire {
        resource: ResourceName::new("acme").unwrap(),
        operation: Label::default(),
        cost: 1,
        amounts: BTreeMap::new(),
        consumer: Label::default(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::Medium,
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: None,
    }
}

/// There are two resources: the one that the request does not name.
fn other_resource(
    resource: &ResourceName,
    (cost, amounts, operation): (u64, BTreeMap<Dimension, u64>, Label),
) -> Alternative {
    let other = if resource.as_str() == "acme" { "zeta" } else { "acme" };
    Alternative {
        resource: ResourceName::new(other).unwrap(),
        operation,
        cost,
        amounts,
        key: Label::default(),
    }
}

fn resource() -> impl Strategy<Value = Resource> + Clone {
    let tolerance = select(vec![0, 1, 4]).prop_map(Span::from_millis);
    let settle = select(vec![0, 5, 2000]).prop_map(Span::from_millis);
    let vendor = (option::weighted(0.3, circuit_breaker()), feedback_rules());
    (vec(limit(), 1..5), tolerance, settle, vec(budget(), 0..4), vendor).prop_map(
        |(limits, dispatch_tolerance, settle_within, budgets, (circuit_breaker, feedback))| {
            let limits: Vec<_> = (0..)
                .zip(limits)
                .map(|(index, limit)| Limit { name: limit_name(index, &limit), ..limit })
                .collect();
            Resource {
                name: ResourceName::new("acme").unwrap(),
                keys: vec![Label::new("blue").unwrap(), Label::new("green").unwrap()],
                dispatch_tolerance,
                settle_within,
                description: Description::default(),
                budgets: (0..).zip(budgets).map(|(index, wish)| wish.of(index, &limits)).collect(),
                queueing: Queueing::default(),
                circuit_breaker: circuit_breaker.map(Box::new),
                feedback: Box::new(feedback),
                operation_costs: vec![],
                limits,
            }
        },
    )
}

/// Named so that an update often finds limits to carry over, of the same kind, scope and dimension.
fn limit_name(index: usize, limit: &Limit) -> LimitName {
    let dimension = limit.dimension.as_ref().map_or("cost", |dimension| dimension.as_str());
    let scope = format!("{:?}", limit.scope).to_lowercase();
    LimitName::new(&format!("{}-{scope}-{dimension}-{index}", limit.kind.field())).unwrap()
}

fn limit() -> impl Strategy<Value = Limit> + Clone {
    let scope = select(vec![Scope::Resource, Scope::Resource, Scope::Key, Scope::Consumer, Scope::Subject]);
    let dimension = option::weighted(0.2, Just(Dimension::new("tokens").unwrap()));
    let operations = select(vec![vec![], vec![], vec!["search"], vec!["batch/*"]]);
    (kind(), scope, dimension, operations, prop::bool::weighted(0.15), select(vec![1u32, 2, 100])).prop_map(
        |(kind, scope, dimension, operations, shadow, max_scope_values)| Limit {
            name: LimitName::new("unnamed").unwrap(),
            operations: operations.into_iter().map(|pattern| Label::new(pattern).unwrap()).collect(),
            dimension: dimension.filter(|_| kind.concurrency().is_none()),
            scope,
            max_scope_values,
            shadow,
            kind,
        },
    )
}

pub(super) fn kind() -> impl Strategy<Value = LimitKind> + Clone {
    let period = || select(vec![10, 17, 1000]).prop_map(Span::from_millis);
    let amount = || 4u64..12;
    let token = (amount(), 1u64..9, period()).prop_map(|(capacity, refill_amount, refill_period)| {
        LimitKind::TokenBucket(TokenBucket { capacity, refill_amount, refill_period })
    });
    let leaky = (amount(), period())
        .prop_map(|(amount, period)| LimitKind::LeakyBucket(LeakyBucket { amount, period }));
    let sliding = (amount(), period(), select(vec![1, 7, 100])).prop_map(|(amount, period, resolution)| {
        LimitKind::SlidingWindow(SlidingWindow { amount, period, resolution })
    });
    let zone = TimeZoneName::new("America/New_York").unwrap();
    let anchor = select(vec![Anchor::Epoch, Anchor::FirstRequest, Anchor::Midnight(zone)]);
    let fixed = (amount(), period(), anchor, 0u64..3).prop_map(|(amount, period, anchor, skew)| {
        let period = if matches!(anchor, Anchor::Midnight(_)) { Span::from_secs(86_400) } else { period };
        let max_clock_skew =
            if anchor == Anchor::FirstRequest { Span::ZERO } else { Span::from_millis(skew) };
        LimitKind::FixedWindow(FixedWindow { amount, period, anchor, max_clock_skew })
    });
    let kept = || select(vec![0, 0, 3, 700]).prop_map(Span::from_millis);
    let slots = (1u32..4, select(vec![4, 900]), kept(), kept(), kept()).prop_map(
        |(slots, lease, grace, quarantine, counts_after)| {
            LimitKind::Concurrency(Concurrency {
                slots,
                lease_default: Span::from_millis(lease),
                lease_max: Span::from_millis(1000),
                grace,
                counts_after,
                quarantine,
            })
        },
    );
    prop_oneof![token, leaky, sliding, fixed, slots]
}

fn resource_name() -> impl Strategy<Value = ResourceName> + Clone {
    select(vec!["acme", "acme", "zeta"]).prop_map(|name| ResourceName::new(name).unwrap())
}

fn label(choices: &[&'static str]) -> impl Strategy<Value = Label> + Clone + use<> {
    select(choices.to_vec()).prop_map(|text| Label::new(text).unwrap())
}

fn permit() -> impl Strategy<Value = PermitId> + Clone {
    (0u64..12).prop_map(PermitId)
}

fn lease() -> impl Strategy<Value = Span> + Clone {
    select(vec![1, 5, 400, 1000]).prop_map(Span::from_millis)
}

pub(super) fn span() -> impl Strategy<Value = Span> + Clone {
    prop_oneof![
        2 => Just(Span::ZERO),
        3 => (0u64..20_000_000).prop_map(Span),
        2 => (0u64..2_000).prop_map(Span::from_millis),
        1 => (0u64..700).prop_map(Span::from_secs),
    ]
}

fn outcome() -> impl Strategy<Value = CallOutcome> + Clone {
    select(vec![
        CallOutcome::Ok,
        CallOutcome::Ok,
        CallOutcome::Throttled,
        CallOutcome::NotSent,
        CallOutcome::ServerError,
        CallOutcome::Timeout,
        CallOutcome::Unknown,
    ])
}

fn amounts() -> impl Strategy<Value = BTreeMap<Dimension, u64>> + Clone {
    let tokens = Dimension::new("tokens").unwrap();
    option::weighted(0.2, 0u64..9)
        .prop_map(move |amount| amount.map(|amount| (tokens.clone(), amount)).into_iter().collect())
}
