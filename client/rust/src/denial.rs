//! The answer "no".

use std::{fmt, time::Duration};

use tollgate_proto::v1;

use crate::{
    condition::{CircuitStatus, PaceStatus},
    duration::from_wire,
};

/// No permit now: nothing was debited, and the vendor must not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// The resource that this is about: of the one that was asked for and its [alternatives](crate::Acquire::or) the one
    /// that could be had first.
    pub resource: String,
    /// What stands in the way.
    pub reason: DenialReason,
    /// The limit that binds: the one among `exhausted` that frees last, the one that others wait for, or the one that comes back slowly
    /// after its vendor held it. Empty when a pause, a key or the pace of a key is the reason.
    pub limit: String,
    /// Every enforced limit without room for the request, whatever the reason.
    pub exhausted: Vec<Exhausted>,
    /// How long until the pause is over and all limits have room, if nobody else acquires or releases meanwhile. Add a
    /// random wait on top when many clients wait for the same limit; never subtract. None: only an operator's order ends
    /// it.
    pub retry_after: Option<Duration>,
    /// How long the request waited for its turn at the server; 0 when it was decided at once.
    pub waited: Duration,
}

/// What stands in the way of a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenialReason {
    /// One or more limits are exhausted.
    LimitExhausted,
    /// The resource or the key is paused, by an operator or because the vendor wants it.
    Paused(Pause),
    /// The key that was asked for, or every key of the resource, is draining or disabled.
    KeyUnavailable,
    /// The vendor's limits have room; the budgets of the resource do not let this consumer have it now.
    /// [`Exhausted::budget_cause`] says how.
    #[non_exhaustive]
    BudgetExhausted {
        /// The budget that the consumer belongs to; empty for a consumer that no budget names.
        budget: String,
    },
    /// Others of the same or a higher priority wait for the limit, and are to go first.
    OthersWait,
    /// Another request makes the [call](crate::Acquire::coalesce) just now.
    CallUnderWay,
    /// The vendor fails: it is left alone for a while, or tried with few calls, all of which are out.
    #[non_exhaustive]
    CircuitOpen {
        /// The key whose circuit it is; empty: the resource's.
        key: String,
        /// Where it stands, since when, and because of what.
        circuit: CircuitStatus,
    },
    /// After a pause, an outage or refusals, permits are granted more slowly than the limits allow.
    #[non_exhaustive]
    Paced {
        /// The key that is paced; empty: the resource as a whole, or the [limit](Denial::limit) if the denial names one.
        key: String,
        /// How slowly, for how long, and because of what.
        pace: PaceStatus,
    },
    /// One that only a newer server knows.
    Other,
}

/// A pause that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The key that is paused; empty: the resource as a whole.
    pub key: String,
    /// What is left of it; none: until somebody resumes it.
    pub left: Option<Duration>,
    /// Why, for people; may be empty.
    pub reason: String,
}

/// One limit that had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted {
    /// The limit's name.
    pub limit: String,
    /// The key, consumer or subject that it counts; empty for a limit of the whole resource.
    pub scope_value: String,
    /// The capacity, amount or number of slots that is in force: what the resource states, or less where it is tightened.
    pub amount: u64,
    /// How much could still be granted; below zero while a settled debt is repaid.
    pub available: i64,
    /// How much the request would have debited.
    pub requested: u64,
    /// How long until this limit alone has room; none: not before an operator says so, since the vendor allows less than is requested.
    pub retry_after: Option<Duration>,
    /// Set when the limit itself has room, and a budget stands in the way.
    pub budget_cause: Option<BudgetCause>,
}

/// How a budget stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetCause {
    /// The consumer's own budget has had its share.
    Ceiling,
    /// What is left is kept for other budgets.
    Reserve,
    /// The consumer's budget is closed at this hour.
    Schedule,
}

impl From<v1::DeniedPermit> for Denial {
    fn from(denied: v1::DeniedPermit) -> Denial {
        let reason = match denied.reason() {
            v1::DenialReason::LimitExhausted => DenialReason::LimitExhausted,
            v1::DenialReason::Paused => {
                let pause = denied.pause.unwrap_or_default();
                let left = pause.left.map(from_wire);
                DenialReason::Paused(Pause { key: denied.paused_key, left, reason: pause.reason })
            }
            v1::DenialReason::KeyUnavailable => DenialReason::KeyUnavailable,
            v1::DenialReason::BudgetExhausted => DenialReason::BudgetExhausted { budget: denied.budget },
            v1::DenialReason::OthersWait => DenialReason::OthersWait,
            v1::DenialReason::CallUnderWay => DenialReason::CallUnderWay,
            v1::DenialReason::CircuitOpen => {
                let circuit = CircuitStatus::from(denied.circuit.map(|circuit| *circuit).unwrap_or_default());
                DenialReason::CircuitOpen { key: denied.paused_key, circuit }
            }
            v1::DenialReason::Paced => {
                let pace = PaceStatus::from(denied.pace.map(|pace| *pace).unwrap_or_default());
                DenialReason::Paced { key: denied.paused_key, pace }
            }
            v1::DenialReason::Unspecified => DenialReason::Other,
        };
        Denial {
            resource: denied.resource,
            reason,
            limit: denied.limit,
            exhausted: denied.exhausted.into_iter().map(Exhausted::from).collect(),
            retry_after: denied.retry_after.map(from_wire),
            waited: denied.waited.map(from_wire).unwrap_or_default(),
        }
    }
}

impl From<v1::ExhaustedLimit> for Exhausted {
    fn from(exhausted: v1::ExhaustedLimit) -> Exhausted {
        let budget_cause = match exhausted.budget_cause() {
            v1::BudgetCause::Unspecified => None,
            v1::BudgetCause::Ceiling => Some(BudgetCause::Ceiling),
            v1::BudgetCause::Reserve => Some(BudgetCause::Reserve),
            v1::BudgetCause::Schedule => Some(BudgetCause::Schedule),
        };
        Exhausted {
            budget_cause,
            limit: exhausted.limit,
            scope_value: exhausted.scope_value,
            amount: exhausted.amount,
            available: exhausted.available,
            requested: exhausted.requested,
            retry_after: exhausted.retry_after.map(from_wire),
        }
    }
}

impl Denial {
    /// How a budget stands in the way at the limit that binds.
    pub fn budget_cause(&self) -> Option<BudgetCause> {
        self.exhausted.iter().find(|exhausted| exhausted.limit == self.limit)?.budget_cause
    }

    fn fmt_budget(&self, budget: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = &self.limit;
        match self.budget_cause() {
            Some(BudgetCause::Schedule) => write!(f, "denied: budget {budget:?} is closed at this hour"),
            Some(BudgetCause::Ceiling) => {
                write!(f, "denied: budget {budget:?} has had its share of {limit:?}")
            }
            _ => write!(f, "denied: what is left of {limit:?} is kept for other budgets"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            DenialReason::LimitExhausted => write!(f, "denied by limit {:?}", self.limit)?,
            DenialReason::Paused(pause) => write!(f, "denied: {pause}")?,
            DenialReason::KeyUnavailable => f.write_str("denied: no key is active")?,
            DenialReason::BudgetExhausted { budget } => self.fmt_budget(budget, f)?,
            DenialReason::OthersWait => write!(f, "denied: others wait for {:?} first", self.limit)?,
            DenialReason::CallUnderWay => f.write_str("denied: another makes the call")?,
            DenialReason::CircuitOpen { key, circuit } => {
                write!(f, "denied: the circuit{} is {circuit}", OfKey(key))?;
            }
            DenialReason::Paced { key, .. } => {
                write!(f, "denied: calls{}{} are paced", OfKey(key), OfLimit(&self.limit))?;
            }
            DenialReason::Other => f.write_str("denied")?,
        }
        match self.retry_after {
            Some(retry_after) => write!(f, ": ask again in {retry_after:?}"),
            None if self.reason == DenialReason::OthersWait => f.write_str(": ask again later"),
            None => f.write_str(" until an operator orders otherwise"),
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str("the resource is paused")?,
            key => write!(f, "key {key:?} is paused")?,
        }
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, " ({reason})"),
        }
    }
}

/// Nothing where no limit is named.
struct OfLimit<'a>(&'a str);

impl fmt::Display for OfLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " of limit {:?}", self.0) }
    }
}

/// Nothing for the resource as a whole.
struct OfKey<'a>(&'a str);

impl fmt::Display for OfKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " of key {:?}", self.0) }
    }
}
