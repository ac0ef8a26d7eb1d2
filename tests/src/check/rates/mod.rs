//! S1, in cluster time: the log's grants are put to a plain model of each limit, with the stamps of the log.
//!
//! Permits weigh what they weighed in the end (see [`Settlements::final_weight`]), as if refunds had been known from the
//! beginning; debts are left out. Both make the model more generous than the guarantee is, never less: what it refuses
//! must not have been granted. Over a change of the definition the model carries its state by the limit's name: nothing
//! refills.

mod buckets;
mod windows;

use std::collections::BTreeMap;

use tollgate_limiter::{
    Anchor, Command, Label, Limit, LimitKind, LimitName, Resource, ResourceName, Span, Stamp,
};

use self::{
    buckets::{Bucket, Pace},
    windows::{Aligned, FirstRequest, Sliding},
};
use super::{
    Verdict,
    replay::{Definitions, Step, steps},
    terms::Settlements,
};
use crate::history::History;

/// One counter as the model has it.
enum Model {
    Bucket(Bucket),
    Pace(Pace),
    Aligned(Aligned),
    FirstRequest(FirstRequest),
    Sliding(Sliding),
}

/// The rules that a counter is under.
#[derive(Clone, Copy)]
struct Rules<'a> {
    kind: &'a LimitKind,
    tolerance: Span,
}

type Counter<'a> = (&'a ResourceName, &'a LimitName, Label);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let settlements = settlements(history);
    let mut definitions = Definitions::default();
    let mut counters = BTreeMap::<Counter, (Model, Step)>::new();
    for step in steps(history) {
        follow_definitions(&mut counters, &definitions, &step);
        definitions.follow(&step);
        let Some((target, grant)) = step.fresh_grant() else { continue };
        let Some(resource) = definitions.get(target.resource) else { continue };
        for limit in enforced_rates(resource) {
            let Some(value) = target.counter(limit) else { continue };
            let Some(weight) = settlements.final_weight(grant.permit, limit, target.weight(limit)) else {
                continue;
            };
            let rules = Rules { kind: &limit.kind, tolerance: resource.dispatch_tolerance };
            let counter = (&resource.name, &limit.name, value);
            let (model, last) =
                counters.entry(counter).or_insert_with(|| (Model::fresh(rules, step.now), step));
            verdict.saw("S1 debits in cluster time", 1);
            if let Err(excess) = model.grant(rules, weight, step.now) {
                let what = format!("limit {} of {}: {excess}", limit.name, resource.name);
                verdict.accuse("S1", what, vec![last.to_string(), step.to_string()]);
            }
            *last = step;
        }
    }
}

fn settlements(history: &History) -> Settlements<'_> {
    let mut settlements = Settlements::default();
    for step in steps(history).filter(|step| step.ended().is_some()) {
        match step.command {
            Command::Release(release) => settlements.release(release),
            Command::GiveBack(permit) => settlements.give_back(*permit),
            _ => {}
        }
    }
    settlements
}

fn enforced_rates(resource: &Resource) -> impl Iterator<Item = &Limit> {
    resource.limits.iter().filter(|limit| !limit.shadow && limit.kind.concurrency().is_none())
}

/// A limit that is gone, or is not enforced for a while, begins anew should it come back.
fn follow_definitions<'a>(
    counters: &mut BTreeMap<Counter<'a>, (Model, Step<'a>)>,
    definitions: &Definitions<'a>,
    step: &Step<'a>,
) {
    if let Some(name) = step.deleted() {
        counters.retain(|(resource, ..), _| *resource != name);
    }
    let Some(new) = step.defined() else { return };
    let Some(old) = definitions.get(&new.name).filter(|old| *old != new) else { return };
    counters.retain(|(resource, name, _), (model, _)| {
        if **resource != new.name {
            return true;
        }
        let rules = |resource: &'a Resource| {
            let limit = enforced_rates(resource).find(|limit| limit.name == **name)?;
            Some(Rules { kind: &limit.kind, tolerance: resource.dispatch_tolerance })
        };
        match (rules(old), rules(new)) {
            (Some(old), Some(new)) => model.change(old, new, step.now),
            _ => return false,
        }
        true
    });
}

impl Model {
    fn fresh(rules: Rules, now: Stamp) -> Model {
        match rules.kind {
            LimitKind::TokenBucket(bucket) => Model::Bucket(Bucket::full(bucket, now.cluster)),
            LimitKind::LeakyBucket(_) => Model::Pace(Pace::default()),
            LimitKind::FixedWindow(window) if window.anchor == Anchor::FirstRequest => {
                Model::FirstRequest(FirstRequest::default())
            }
            LimitKind::FixedWindow(_) => Model::Aligned(Aligned::default()),
            LimitKind::SlidingWindow(_) => Model::Sliding(Sliding::default()),
            LimitKind::Concurrency(_) => unreachable!("only rates are put to the model"),
        }
    }

    /// A permit of this weight is granted. The error says what is exceeded.
    fn grant(&mut self, rules: Rules, weight: u64, now: Stamp) -> Result<(), String> {
        match (self, rules.kind) {
            (Model::Bucket(model), LimitKind::TokenBucket(bucket)) => {
                model.grant(bucket, weight, now.cluster)
            }
            (Model::Pace(model), LimitKind::LeakyBucket(bucket)) => model.grant(bucket, weight, now.cluster),
            (Model::Aligned(model), LimitKind::FixedWindow(window)) => {
                model.grant(window, rules.tolerance, weight, now.wall)
            }
            (Model::FirstRequest(model), LimitKind::FixedWindow(window)) => {
                model.grant(window, weight, now.cluster)
            }
            (Model::Sliding(model), LimitKind::SlidingWindow(window)) => {
                model.grant(window, rules.tolerance, weight, now.cluster)
            }
            // It became something else under its name, which is refused elsewhere: it begins anew.
            (model, _) => {
                *model = Model::fresh(rules, now);
                Ok(())
            }
        }
    }

    fn change(&mut self, old: Rules, new: Rules, now: Stamp) {
        match (self, old.kind, new.kind) {
            (Model::Bucket(model), LimitKind::TokenBucket(old), LimitKind::TokenBucket(new)) => {
                model.change(old, new, now.cluster);
            }
            (Model::Pace(model), LimitKind::LeakyBucket(old), LimitKind::LeakyBucket(new)) => {
                model.change(old, new, now.cluster);
            }
            (Model::Aligned(model), LimitKind::FixedWindow(old), LimitKind::FixedWindow(new)) => {
                model.change(old, new);
            }
            (Model::FirstRequest(model), LimitKind::FixedWindow(old), LimitKind::FixedWindow(new)) => {
                model.change(old, new);
            }
            (Model::Sliding(model), LimitKind::SlidingWindow(window), _) => {
                model.forget_before(window.period + old.tolerance, now.cluster);
            }
            (model, ..) => *model = Model::fresh(new, now),
        }
    }
}

#[cfg(test)]
mod tests;
