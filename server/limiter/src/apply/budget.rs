//! What budgets let a consumer have of a limit that has room itself.
//!
//! A request of `a` from budget c passes when
//!
//! 1. c is open, and a fits under c's ceiling; and
//! 2. a is covered by what is left of c's own reserve, or the limit has left, after a, what is left of all *other*
//!    reserves.
//!
//! A reserve is debited by what it covers of a request: by min(a, what is left of it). So what a budget borrows from the part
//! that all share never costs it its guarantee.
//!
//! **Invariant:** what is left of a limit is at least the sum of what is left of its reserves. *Proof.* At the beginning the
//! reserves are shares that add up to at most the whole. Refill: what a bucket's reserves gain is at most their shares of what
//! the bucket gains, and where the bucket is full, the sum of its reserves still is at most their capacity and so no more than
//! the bucket's. A window's counters, and slots, forget the same debits at the same moments; each debit that is forgotten was
//! counted by a reserve for no more than by the limit. A request of a with r left of c's own reserve: if a ≤ r, both sides
//! fall by a; else the right side is now the sum over the others, which rule 2 has left. What is given back of a reserve is no
//! more than what the limit was given back. Hence whoever asks for no more than is left of its reserve finds room.
//!
//! It does not hold of what was not granted by this rule: where a settlement turns out to weigh more than was acquired, where
//! others than the fleet use the limit, after a definition has changed, and while a budget is closed, since others may then use its reserve. Then a reserve has what the
//! limit has left, first come first served, and as time goes by all that comes free, until the invariant holds again.
//!
//! While a budget is closed its reserve does not hold others back, but in a calendar window in which it opens again: the day's
//! quota must not be spent before those that begin at eight. Other kinds refill, or free slots, by themselves in time.

use super::{budget_claim::Claim, operations, request::Demand};
use crate::{
    model::{
        Acquire, Budget, BudgetCause, BudgetName, Label, Limit, LimitKind, Resource, Span, Stamp, Violation,
    },
    state::ResourceState,
};

/// Where a consumer stands in a resource with budgets.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub resource: &'a Resource,
    pub consumer: &'a Label,
    /// The budget that the consumer belongs to.
    pub own: Option<&'a Budget>,
}

impl<'a> Standing<'a> {
    /// `None`: the resource has no budgets.
    pub(super) fn of(resource: &'a Resource, consumer: &'a Label) -> Option<Standing<'a>> {
        let standing = || Standing { resource, consumer, own: budget_of(resource, consumer) };
        (!resource.budgets.is_empty()).then(standing)
    }

    /// How long from `at` until the consumer's budget opens.
    pub(super) fn opens_in(&self, at: Stamp) -> Span {
        let schedule = self.own.and_then(|budget| budget.schedule.as_ref());
        schedule.map_or(Span::ZERO, |schedule| schedule.opens_in(at.wall))
    }

    /// How long from `at` until budgets let the demand pass, if nothing else changes, and why not before; opening hours
    /// left aside. May be too early, never too late.
    pub(super) fn wait(
        &self,
        state: &ResourceState,
        demand: &Demand,
        at: Stamp,
    ) -> Option<(Span, BudgetCause)> {
        let claim = Claim::new(self, state, demand);
        let (ceiling, reserve) = (claim.ceiling_wait(at), claim.reserve_wait(at));
        let wait = match ceiling >= reserve {
            true => (ceiling, BudgetCause::Ceiling),
            false => (reserve, BudgetCause::Reserve),
        };
        Some(wait).filter(|(wait, _)| !wait.is_zero())
    }

    /// The budget's name if it has a share of the limit, and how long until its own reserve covers the demand, if ever.
    pub(super) fn passes_by(
        &self,
        state: &ResourceState,
        demand: &Demand,
        at: Stamp,
    ) -> (Option<&'a BudgetName>, Option<Span>) {
        let claim = Claim::new(self, state, demand);
        let own = self.own.filter(|_| claim.has_share());
        (own.map(|own| &own.name), claim.covered_in(at))
    }

    /// Refuses what could never be had: more than the ceiling, or than what reserves that are never given up leave of a limit. `cost`
    /// is what the request weighs on limits without a dimension.
    pub(super) fn check(&self, acquire: &Acquire, cost: u64) -> Result<(), Violation> {
        let applying = self
            .resource
            .limits
            .iter()
            .filter(|limit| !limit.shadow && operations::applies(&limit.operations, &acquire.operation));
        applying.into_iter().try_for_each(|limit| self.check_size(limit, acquire, cost))
    }

    fn check_size(&self, limit: &Limit, acquire: &Acquire, cost: u64) -> Result<(), Violation> {
        let amount = limit.weight(cost, &acquire.amounts);
        let most = self.most(limit);
        if amount <= most {
            return Ok(());
        }
        let by = match self.own {
            Some(budget) => format!("budget `{}`", budget.name),
            None => "a consumer without a budget".to_string(),
        };
        if most == 0 {
            let problem =
                format!("{by} gets nothing of limit `{}`, which is reserved for other budgets", limit.name);
            return Err(Violation::new("consumer", problem));
        }
        let field = match &limit.dimension {
            Some(dimension) => format!("amounts[\"{dimension}\"]"),
            None => "cost".to_string(),
        };
        let problem = format!(
            "must be at most {most}, the most that {by} ever gets of limit `{}`, not {amount}",
            limit.name
        );
        Err(Violation::new(field, problem))
    }

    fn most(&self, limit: &Limit) -> u64 {
        let mut left = limit.kind.amount();
        let mut ceiling = left;
        for (budget, share) in self.resource.shares_of(limit) {
            let own = self.own.is_some_and(|own| own.name == budget.name);
            let always = budget.schedule.as_ref().is_none_or(|schedule| schedule.never_closes());
            match (own, &limit.kind) {
                // At its pace it gets any amount in the end.
                (true, LimitKind::LeakyBucket(_)) => {}
                (true, kind) => ceiling = kind.percent(share.ceiling_percent),
                (false, kind) if always => left -= kind.percent(share.reserve_percent).min(left),
                (false, _) => {}
            }
        }
        left.min(ceiling)
    }
}

/// The budget that a consumer belongs to: the first with a pattern that matches, else the one for all others.
pub(crate) fn budget_of<'a>(resource: &'a Resource, consumer: &Label) -> Option<&'a Budget> {
    let named = |budget: &&Budget| !budget.unbudgeted && operations::applies(&budget.consumers, consumer);
    let budgets = &resource.budgets;
    budgets.iter().find(named).or_else(|| budgets.iter().find(|budget| budget.unbudgeted))
}
