//! The answer "no".

use std::{fmt, time::Duration};

use tollgate_proto::v1;

use crate::duration::from_wire;

/// No permit now: nothing was debited, and the vendor must not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// The limit that binds: the one among `exhausted` that frees last.
    pub limit: String,
    /// Every enforced limit without room for the request.
    pub exhausted: Vec<Exhausted>,
    /// How long until all limits have room if nobody else acquires or releases meanwhile. Add a random wait on top when
    /// many clients wait for the same limit; never subtract.
    pub retry_after: Duration,
}

/// One limit that had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted {
    /// The limit's name.
    pub limit: String,
    /// The key, consumer or subject that it counts; empty for a limit of the whole resource.
    pub scope_value: String,
    /// The capacity, amount or number of slots that the resource states.
    pub amount: u64,
    /// How much could still be granted; below zero while a settled debt is repaid.
    pub available: i64,
    /// How much the request would have debited.
    pub requested: u64,
    /// How long until this limit alone has room.
    pub retry_after: Duration,
}

impl From<v1::DeniedPermit> for Denial {
    fn from(denied: v1::DeniedPermit) -> Denial {
        Denial {
            limit: denied.limit,
            exhausted: denied.exhausted.into_iter().map(Exhausted::from).collect(),
            retry_after: denied.retry_after.map(from_wire).unwrap_or_default(),
        }
    }
}

impl From<v1::ExhaustedLimit> for Exhausted {
    fn from(exhausted: v1::ExhaustedLimit) -> Exhausted {
        Exhausted {
            limit: exhausted.limit,
            scope_value: exhausted.scope_value,
            amount: exhausted.amount,
            available: exhausted.available,
            requested: exhausted.requested,
            retry_after: exhausted.retry_after.map(from_wire).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied by limit {:?}: ask again in {:?}", self.limit, self.retry_after)
    }
}
