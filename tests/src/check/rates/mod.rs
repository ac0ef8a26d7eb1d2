//! S1, in cluster time: the log's grants are put to a plain model of each limit, with the stamps of the log.
//!
//! Permits weigh what they weighed in the end (see [`Settlements::final_weight`]), as if refunds had been known from the
//! beginning; debts are left out. Both make the model more generous than the guarantee is, never less: what it refuses
//! must not have been granted. Only where windows open with a request, a call that was not sent and of which that is told
//! when its window has closed already opens one all the same: the guarantee relies on the news. Over a change of the definition the model carries its state by the limit's name: nothing
//! refills.
//!
//! The other way round, a bucket of which nothing was ever refunded or owed holds exactly what the model says, and grants
//! tell how much that is: less would mean that something was debited without a grant.

mod buckets;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{
    Anchor, ClusterTime, Command, Grant, Label, Limit, LimitKind, LimitName, PermitId, Resource,
    ResourceName, Span, Stamp,
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

/// A counter, and its last grant.
struct Counted<'a> {
    model: Model,
    /// Every grant weighs what was acquired, and the definition is the first.
    is_exact: bool,
    last: Step<'a>,
}

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
    let told_at = told_at(history);
    let mut definitions = Definitions::default();
    let mut counters = BTreeMap::<Counter, Counted>::new();
    let mut changed = BTreeSet::<&ResourceName>::new();
    for step in steps(history) {
        follow_definitions(&mut counters, &mut changed, &definitions, &step);
        definitions.follow(&step);
        let Some((target, grant)) = step.fresh_grant() else { continue };
        let Some(resource) = definitions.get(target.resource) else { continue };
        for limit in enforced_rates(resource) {
            let Some(value) = target.counter(limit) else { continue };
            let rules = Rules { kind: &limit.kind, tolerance: resource.dispatch_tolerance };
            let counter = (&resource.name, &limit.name, value);
            // One that was full before a change holds no more than it did then.
            let is_exact = !changed.contains(&resource.name);
            let fresh = || Counted { model: Model::fresh(rules, step.now), is_exact, last: step };
            let counted = counters.entry(counter).or_insert_with(fresh);
            counted.is_exact &= limit.dimension.is_none() && settlements.is_as_acquired(grant.permit);
            let Some(weight) = settlements.final_weight(grant.permit, limit, target.weight(limit)) else {
                counted.model.leave_out(rules, told_at.get(&grant.permit).copied(), step.now);
                continue;
            };
            verdict.saw("S1 debits in cluster time", 1);
            let debited = counted.model.grant(rules, weight, step.now);
            let debited = debited.and_then(|()| counted.holds_what_is_told(rules, limit, grant, verdict));
            if let Err(wrong) = debited {
                let what = format!("limit {} of {}: {wrong}", limit.name, resource.name);
                verdict.accuse("S1", what, vec![counted.last.to_string(), step.to_string()]);
            }
            counted.last = step;
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

/// When it was told of permits that their calls were not sent.
fn told_at(history: &History) -> BTreeMap<PermitId, ClusterTime> {
    let not_sent = steps(history).filter(Step::was_not_sent);
    not_sent.filter_map(|step| Some((step.ended()?, step.now.cluster))).collect()
}

fn enforced_rates(resource: &Resource) -> impl Iterator<Item = &Limit> {
    resource.limits.iter().filter(|limit| !limit.shadow && limit.kind.concurrency().is_none())
}

/// A limit that is gone, or is not enforced for a while, begins anew should it come back.
fn follow_definitions<'a>(
    counters: &mut BTreeMap<Counter<'a>, Counted<'a>>,
    changed: &mut BTreeSet<&'a ResourceName>,
    definitions: &Definitions<'a>,
    step: &Step<'a>,
) {
    if let Some(name) = step.deleted() {
        changed.remove(name);
        counters.retain(|(resource, ..), _| *resource != name);
    }
    let Some(new) = step.defined() else { return };
    let Some(old) = definitions.get(&new.name).filter(|old| *old != new) else { return };
    changed.insert(&new.name);
    counters.retain(|(resource, name, _), counted| {
        if **resource != new.name {
            return true;
        }
        let rules = |resource: &'a Resource| {
            let limit = enforced_rates(resource).find(|limit| limit.name == **name)?;
            Some(Rules { kind: &limit.kind, tolerance: resource.dispatch_tolerance })
        };
        match (rules(old), rules(new)) {
            (Some(old), Some(new)) => counted.model.change(old, new, step.now),
            _ => return false,
        }
        counted.is_exact = false;
        true
    });
}

impl Counted<'_> {
    fn holds_what_is_told(
        &self,
        rules: Rules,
        limit: &Limit,
        grant: &Grant,
        verdict: &mut Verdict,
    ) -> Result<(), String> {
        let told = grant.usage.iter().find(|usage| usage.limit == limit.name);
        let (Model::Bucket(model), LimitKind::TokenBucket(bucket), Some(told)) =
            (&self.model, rules.kind, told.filter(|_| self.is_exact))
        else {
            return Ok(());
        };
        verdict.saw("S1 figures of buckets", 1);
        let left = model.left(bucket);
        match told.available == left {
            true => Ok(()),
            false => Err(format!("{} are left where {left} should be", told.available)),
        }
    }
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

    /// A permit is granted, and its call is never sent.
    fn leave_out(&mut self, rules: Rules, told_at: Option<ClusterTime>, now: Stamp) {
        if let (Model::FirstRequest(model), LimitKind::FixedWindow(window)) = (self, rules.kind) {
            model.leave_out(window, told_at.unwrap_or(ClusterTime(u64::MAX)), now.cluster);
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
            (Model::Aligned(model), LimitKind::FixedWindow(old), LimitKind::FixedWindow(new))
                if new.anchor != Anchor::FirstRequest =>
            {
                model.change(old, new);
            }
            (Model::FirstRequest(model), LimitKind::FixedWindow(old), LimitKind::FixedWindow(new))
                if new.anchor == Anchor::FirstRequest =>
            {
                model.change(old, new);
            }
            (Model::Sliding(model), LimitKind::SlidingWindow(window), _) => {
                model.forget_before(window.period + old.tolerance, now.cluster);
            }
            // Also where windows begin otherwise from now on: what was granted counts in none of the new ones.
            (model, ..) => *model = Model::fresh(new, now),
        }
    }
}

#[cfg(test)]
mod tests;
