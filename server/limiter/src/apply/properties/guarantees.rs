//! What each kind of limit promises, checked the slow way on what clients were told: every grant, with what it weighed
//! in the end, against every other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{apply::budget::budget_of, model::*};

/// One counter: of which resource, limit and scope value.
type Counter = (ResourceName, LimitName, Label);

/// All grants of a log, by counter.
#[derive(Default)]
pub(super) struct Grants {
    by_counter: BTreeMap<Counter, (Limit, Vec<Weighed>)>,
}

/// What a grant weighed on one counter.
struct Weighed {
    permit: PermitId,
    at: Stamp,
    amount: u64,
}

impl Grants {
    pub(super) fn granted(&mut self, resource: &Resource, acquire: &Acquire, grant: &Grant, at: Stamp) {
        for usage in grant.usage.iter().filter(|usage| !usage.shadow) {
            let limit = resource.limits.iter().find(|limit| limit.name == usage.limit).unwrap();
            let value = match limit.scope {
                Scope::Resource => Label::default(),
                Scope::Key => grant.key.clone(),
                Scope::Consumer => acquire.consumer.clone(),
                Scope::Subject => acquire.subject.clone(),
            };
            let amount = limit.weight(acquire.cost, &acquire.amounts);
            let counter = (resource.name.clone(), limit.name.clone(), value);
            // A budget's ceiling is a limit like another.
            let own = budget_of(resource, &acquire.consumer);
            for share in own.iter().flat_map(|own| &own.shares).filter(|share| share.limit == limit.name) {
                let kind = limit.kind.share(share.ceiling_percent);
                let name = format!("{}-{}", limit.name, own.unwrap().name);
                let counter = (counter.0.clone(), LimitName::new(&name).unwrap(), counter.2.clone());
                self.weighed(
                    counter,
                    &Limit { kind, ..limit.clone() },
                    Weighed { permit: grant.permit, at, amount },
                );
            }
            self.weighed(counter, limit, Weighed { permit: grant.permit, at, amount });
        }
    }

    fn weighed(&mut self, counter: Counter, limit: &Limit, weighed: Weighed) {
        let (_, grants) = self.by_counter.entry(counter).or_insert_with(|| (limit.clone(), vec![]));
        grants.push(weighed);
    }

    /// What turned out to weigh less counts as such from the beginning. What turned out to weigh more was promised to
    /// nobody.
    pub(super) fn settled(&mut self, permit: PermitId, release: Option<&Release>) {
        for (limit, grants) in self.by_counter.values_mut() {
            for weighed in grants.iter_mut().filter(|weighed| weighed.permit == permit) {
                let amount = match (release, &limit.dimension) {
                    (None, _) => Some(0),
                    (Some(release), _) if release.outcome == CallOutcome::NotSent => Some(0),
                    (Some(release), None) => release.cost,
                    (Some(release), Some(dimension)) => release.amounts.get(dimension).copied(),
                };
                weighed.amount = weighed.amount.min(amount.unwrap_or(u64::MAX));
            }
        }
    }

    pub(super) fn keep_what_was_promised(&self) -> Result<(), TestCaseError> {
        for ((_, name, _), (limit, grants)) in &self.by_counter {
            for (first, from) in grants.iter().enumerate() {
                let mut sum = 0;
                for to in &grants[first..] {
                    sum += u128::from(to.amount);
                    prop_assert!(
                        keeps(&limit.kind, from, to, sum),
                        "{name}: {sum} from {:?} to {:?}",
                        from.at,
                        to.at
                    );
                }
            }
        }
        Ok(())
    }
}

/// Whether the limit may grant `sum` from one grant to another, both included.
fn keeps(kind: &LimitKind, from: &Weighed, to: &Weighed, sum: u128) -> bool {
    let elapsed = u128::from(to.at.cluster.since(from.at.cluster).0);
    match kind {
        LimitKind::TokenBucket(bucket) => {
            let burst = sum.saturating_sub(u128::from(bucket.capacity));
            burst * u128::from(bucket.refill_period.0) <= elapsed * u128::from(bucket.refill_amount)
        }
        // All but the last were paced before it.
        LimitKind::LeakyBucket(bucket) => {
            let paced = if to.amount == 0 { 0 } else { sum - u128::from(to.amount) };
            paced * u128::from(bucket.period.0) <= elapsed * u128::from(bucket.amount)
        }
        LimitKind::SlidingWindow(window) => {
            elapsed >= u128::from(window.period.0) || sum <= u128::from(window.amount)
        }
        LimitKind::FixedWindow(FixedWindow { amount, period, anchor: Anchor::Epoch, .. }) => {
            let window = |stamp: Stamp| stamp.wall.0.div_euclid(period.0.cast_signed());
            window(from.at) != window(to.at) || sum <= u128::from(*amount)
        }
        // Days and windows that open with a call are checked with the counters, slots by who holds them.
        LimitKind::FixedWindow(_) | LimitKind::Concurrency(_) => true,
    }
}
