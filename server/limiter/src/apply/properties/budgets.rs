//! What budgets promise, seen from outside: against a model that knows grants and nothing of counters.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    BIRTH, applied,
    generate::{kind, log, permit_command, plain_acquire, span},
    walk,
};
use crate::{apply::Limiter, model::*};

/// What somebody does next, after a while.
#[derive(Clone, Debug)]
enum Step {
    Acquire(&'static str, u64),
    NotSent(usize),
}

/// A grant that stands.
struct Standing {
    permit: PermitId,
    at: Stamp,
    amount: u64,
    lease: Option<Span>,
}

fn steps() -> impl Strategy<Value = Vec<(Span, Step)>> {
    let acquire = (select(vec!["crm", "crm", "sync", "export"]), 1u64..4)
        .prop_map(|(consumer, cost)| Step::Acquire(consumer, cost));
    let step = prop_oneof![6 => acquire, 1 => (0usize..8).prop_map(Step::NotSent)];
    vec((span(), step), 1..60)
}

fn definition(kind: LimitKind, reserve: u32) -> Resource {
    let budget = |name: &str, reserve_percent| Budget {
        name: BudgetName::new(name).unwrap(),
        consumers: vec![Label::new(name).unwrap()],
        unbudgeted: false,
        weight: 1,
        // Too little to be divided is not.
        shares: (kind.percent(reserve_percent) > 0)
            .then(|| BudgetShare {
                limit: LimitName::new("limit").unwrap(),
                reserve_percent,
                ceiling_percent: 100,
            })
            .into_iter()
            .collect(),
        schedule: None,
    };
    let budgets = vec![budget("crm", reserve), budget("sync", 80 - reserve)];
    let limit = Limit {
        name: LimitName::new("limit").unwrap(),
        operations: vec![],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 1,
        shadow: false,
        kind,
    };
    Resource {
        name: ResourceName::new("acme").unwrap(),
        limits: vec![limit],
        keys: vec![],
        dispatch_tolerance: Span::from_millis(1),
        settle_within: Span::from_secs(3600),
        description: Description::default(),
        budgets,
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

/// Whether what was granted from there on, with one more of `amount` now, is still no more than the reserve promises,
/// whatever else happened. `None`: the model cannot tell for this kind.
fn is_promised(reserve: &LimitKind, grants: &[Standing], amount: u64, now: Stamp) -> Option<bool> {
    // Windows also count what may arrive in them.
    let tolerance = Span::from_millis(1);
    let since = |from: usize| {
        let sum = grants[from..].iter().map(|grant| u128::from(grant.amount)).sum::<u128>();
        (now.cluster.since(grants[from].at.cluster), sum + u128::from(amount))
    };
    let holds = |rule: &dyn Fn(Span, u128) -> bool| {
        rule(Span::ZERO, amount.into())
            && (0..grants.len()).map(since).all(|(elapsed, sum)| rule(elapsed, sum))
    };
    Some(match reserve {
        LimitKind::TokenBucket(bucket) => holds(&|elapsed, sum| {
            let burst = sum.saturating_sub(u128::from(bucket.capacity));
            burst * u128::from(bucket.refill_period.0)
                <= u128::from(elapsed.0) * u128::from(bucket.refill_amount)
        }),
        LimitKind::SlidingWindow(window) => {
            let width = Span(window.period.0.div_ceil(window.resolution.into()));
            let counts_for = window.period + tolerance + width;
            holds(&|elapsed, sum| elapsed > counts_for || sum <= u128::from(window.amount))
        }
        // A grant counts in two windows at most.
        LimitKind::FixedWindow(window) if window.anchor == Anchor::Epoch => {
            let counts_for = Span(window.period.0 * 2);
            holds(&|elapsed, sum| elapsed > counts_for || sum <= u128::from(window.amount))
        }
        LimitKind::Concurrency(concurrency) if concurrency.counts_after.is_zero() => {
            let kept_for = concurrency.grace + concurrency.quarantine;
            let held = grants.iter().filter(|grant| {
                grant.lease.is_some_and(|lease| now.cluster < grant.at.cluster + lease + kept_for)
            });
            held.count() < concurrency.slots as usize
        }
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_budget_that_asks_for_its_reserve_gets_it(kind in kind(), reserve in 30u32..70, steps in steps()) {
        let resource = definition(kind, reserve);
        let reserve = resource.limits[0].kind.share(reserve);
        let create = [Command::from(resource.clone())];
        let (mut limiter, answers) = applied(&Limiter::default(), BIRTH, &create);
        // Leaky buckets have no reserves, and few slots cannot be divided.
        if answers[0].is_err() || reserve.amount() == 0 {
            return Ok(());
        }
        let (mut stamp, mut grants, mut permits) = (BIRTH, Vec::<Standing>::new(), Vec::new());
        for (after, step) in steps {
            stamp = stamp.after(after);
            let (consumer, cost) = match step {
                Step::NotSent(index) => {
                    let Some(permit) = permits.get(index).copied() else { continue };
                    let (later, answers) = applied(&limiter, stamp, &[Command::GiveBack(permit)]);
                    limiter = later;
                    // Later there may be nothing left to be given back: then it counts for the model still.
                    if answers[0].is_ok() {
                        grants.retain(|grant| grant.permit != permit || grant.at != stamp && grant.lease.is_none());
                    }
                    continue;
                }
                Step::Acquire(consumer, cost) => (consumer, cost),
            };
            let acquire = Acquire {
                resource: resource.name.clone(),
                cost,
                consumer: Label::new(consumer).unwrap(),
                ..plain_acquire()
            };
            let (later, answers) = applied(&limiter, stamp, &[Command::from(acquire)]);
            let promised = consumer == "crm" && is_promised(&reserve, &grants, cost, stamp) == Some(true);
            match &answers[0] {
                Ok(Outcome::Granted(grant)) => {
                    permits.push(grant.permit);
                    let (permit, lease) = (grant.permit, grant.lease);
                    let at = stamp;
                    grants.extend((consumer == "crm").then_some(Standing { permit, at, amount: cost, lease }));
                }
                answer => prop_assert!(!promised, "{cost} are within the reserve, and yet {answer:?}"),
            }
            limiter = later;
        }
    }

    /// The invariant that `budget.rs` proves, of what is told to people, in whole units.
    #[test]
    fn a_limit_has_left_what_its_reserves_have(mut log in log(permit_command(), 60)) {
        for entry in &mut log {
            entry.commands.retain(|command| match command {
                // A settlement may weigh more than was foreseen.
                Command::Release(release) => release.outcome == CallOutcome::NotSent,
                _ => true,
            });
            for command in &mut entry.commands {
                let Command::CreateResource(resource) = command else { continue };
                resource.budgets.iter_mut().for_each(|budget| budget.schedule = None);
                // Others may use what is reserved.
                resource.feedback.trusted_percent = 0;
            }
        }
        walk(&log, |_, stamp, _, _, after| {
            for name in ["acme", "zeta"].map(|name| ResourceName::new(name).unwrap()) {
                let Some(usage) = after.usage(stamp, &name, None, 1000, 1000) else { continue };
                let definition = &usage.stored.resource;
                for (limit, figures) in definition.limits.iter().zip(&usage.limits) {
                    if limit.kind.concurrency().is_some_and(|concurrency| !concurrency.counts_after.is_zero()) {
                        continue;
                    }
                    for counter in &figures.counters {
                        let uses = usage.budgets.iter().flat_map(|budget| &budget.uses);
                        let uses = uses.filter(|of| of.limit == limit.name && of.scope_value == counter.scope_value);
                        let reserved = uses.map(|of| of.reserve_left.cast_signed()).sum::<i64>();
                        prop_assert!(counter.available.max(0) >= reserved, "{figures:?} {:?}", usage.budgets);
                    }
                }
            }
            Ok(())
        })?;
    }
}
