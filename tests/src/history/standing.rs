//! Where nodes stand at a moment, and what is left at the end.

use tollgate_limiter::{Label, LimitName, PermitId, ResourceName, Span};
use tollgate_server::raft::members::NodeId;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Real time.
    pub at: Span,
    /// Which node.
    pub node: NodeId,
    /// The last entry that its state contains.
    pub index: u64,
    /// Of the state.
    pub digest: u64,
}

/// From when a leader is asked to go until the next one serves, or until this one goes on. Nobody who waits is let go meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interregnum {
    /// When it is asked.
    pub began_at: Span,
    /// From when on somebody serves.
    pub ended_at: Span,
}

/// How far members have come with what one of them had applied some time before: while clients ask, they are never quite
/// alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// When it was noted how far the furthest one was.
    pub noted_at: Span,
    /// The last entry that this one had applied.
    pub index: u64,
    /// When they were compared.
    pub at: Span,
    /// Where those stood then that were members all the while, and whose processes ran all the while.
    pub nodes: Vec<Standing>,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Span,
    /// Since when nothing failed any more; absent when faults went on to the end.
    pub healed_at: Option<Span>,
    /// All slots whose lease had not run out, as the cluster said at the end; absent when nobody led, who could have said it.
    pub held: Option<Vec<Held>>,
    /// Every member at the end; empty where nobody can look inside.
    pub nodes: Vec<Standing>,
}

/// A slot that is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Of which resource.
    pub resource: ResourceName,
    /// Of which limit.
    pub limit: LimitName,
    /// Of which scope value; empty for the whole resource.
    pub scope_value: Label,
    /// Which place.
    pub index: u32,
    /// By which permit.
    pub permit: PermitId,
}
