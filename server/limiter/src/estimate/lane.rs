//! Calls of one kind that are to be made, and how far they are.

use std::cmp::Ordering;

use super::HORIZON;
use crate::model::{
    Acquire, BudgetCause, ClusterTime, Denial, LimitName, MAX_AMOUNT, Span, Stamp, StepEstimate,
};

/// The calls of one step, or of one consumer that waits.
pub(super) struct Lane {
    /// One of them.
    pub call: Acquire,
    pub call_duration: Span,
    pub calls: u64,
    pub done: u64,
    /// How many go together.
    pub chunk: u64,
    /// How many of a chunk go one after another in the same slot.
    pub in_a_row: u64,
    /// The slots that they need, by position.
    pub pools: Vec<usize>,
    /// When the last of those that went can go, or has returned.
    pub ends_at: ClusterTime,
    pub impossible: Option<Impossible>,
    pub held_up: Vec<(Holder, Span)>,
}

/// What holds calls up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub limit: LimitName,
    pub budget: Option<BudgetCause>,
}

/// Why calls can never go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Impossible {
    pub limit: Option<LimitName>,
    pub problem: String,
}

impl Holder {
    /// The limit that binds; none where a pause or a key does.
    pub fn of(denial: &Denial) -> Option<Holder> {
        let limit = denial.limit.clone()?;
        let budget =
            denial.exhausted.iter().find(|exhausted| exhausted.limit == limit).and_then(|of| of.budget);
        Some(Holder { limit, budget })
    }
}

impl Lane {
    pub fn new(call: Acquire, calls: u64, call_duration: Span) -> Lane {
        Lane {
            call,
            call_duration,
            calls,
            done: 0,
            chunk: 1,
            in_a_row: 1,
            pools: Vec::new(),
            ends_at: ClusterTime::default(),
            impossible: None,
            held_up: Vec::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.done < self.calls && self.impossible.is_none()
    }

    /// What goes next if it can all go together.
    pub fn next_chunk(&self) -> u64 {
        self.chunk.min(self.calls - self.done)
    }

    /// The calls that can go together without being more than a request may ask for.
    pub fn most_together(&self) -> u64 {
        let heaviest = self.call.amounts.values().chain([&self.call.cost]).max();
        MAX_AMOUNT / heaviest.copied().unwrap_or(1).max(1)
    }

    /// So many calls as one.
    pub fn together(&self, calls: u64) -> Acquire {
        let amounts = self.call.amounts.iter();
        Acquire {
            cost: self.call.cost * calls,
            amounts: amounts.map(|(dimension, amount)| (dimension.clone(), amount * calls)).collect(),
            ..self.call.clone()
        }
    }

    pub fn hold_up(&mut self, holder: Option<&Holder>, span: Span) {
        let Some(holder) = holder else { return };
        match self.held_up.iter_mut().find(|(known, _)| known == holder) {
            Some((_, total)) => *total = *total + span,
            None => self.held_up.push((holder.clone(), span)),
        }
    }

    /// Which of the two has done less of what it has to do.
    pub fn progress_beside(&self, other: &Lane) -> Ordering {
        let share = |of: &Lane, than: &Lane| u128::from(of.done) * u128::from(than.calls);
        share(self, other).cmp(&share(other, self))
    }

    /// It would go on as it did: for work that takes more moves than anybody should wait for.
    pub fn extrapolate(&mut self, began: Stamp, now: Stamp) {
        let so_far = u128::from(now.cluster.since(began.cluster).as_nanos());
        let whole = (so_far * u128::from(self.calls)).checked_div(u128::from(self.done));
        let whole = whole.and_then(|whole| u64::try_from(whole).ok()).unwrap_or(u64::MAX);
        self.ends_at = began.cluster + Span(whole);
    }

    pub fn into_estimate(
        self,
        began: Stamp,
        first_call_after: Option<Span>,
        waiting_ahead: u64,
    ) -> StepEstimate {
        let held_most = (0..self.held_up.len()).rev().max_by_key(|index| self.held_up[*index].1);
        let holder = held_most.map(|index| self.held_up[index].0.clone());
        let (limit, budget_cause) = holder.map_or((None, None), |held| (Some(held.limit), held.budget));
        let duration = self.ends_at.since(began.cluster);
        let too_long =
            || (duration > HORIZON).then(|| Impossible { limit: limit.clone(), problem: Lane::too_long() });
        let estimate = StepEstimate { calls: self.calls, waiting_ahead, ..StepEstimate::default() };
        match self.impossible.or_else(too_long) {
            Some(Impossible { limit, problem }) => {
                StepEstimate { limit, impossible: Some(problem), ..estimate }
            }
            None => {
                StepEstimate { duration: Some(duration), limit, budget_cause, first_call_after, ..estimate }
            }
        }
    }

    pub fn too_long() -> String {
        format!("it would take more than {HORIZON}")
    }
}
