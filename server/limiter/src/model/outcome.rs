//! What the limiter answers. A denial is an answer; a [`Rejection`] says what the caller can do next.

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use super::{
    BudgetCause, BudgetName, CircuitStatus, KeyStatus, Label, LimitName, PaceStatus, Pause, PermitId,
    Resource, ResourceName, SharedResult, Span, VendorStatus, Violation,
};

/// The answer to one command: the outcome, or why the command could not be carried out. A rejection changes nothing.
pub type Answer = Result<Outcome, Rejection>;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// A permit.
    #[n(0)]
    Granted(#[n(0)] Grant),
    /// No permit; nothing was debited.
    #[n(1)]
    Denied(#[n(0)] Denial),
    /// The lease now ends this long from now.
    #[n(2)]
    Renewed(#[n(0)] Span),
    /// The permit ended after it was held for so long.
    #[n(3)]
    Released(#[n(0)] Span),
    /// A resource was created, updated, paused or resumed, or a key of it changed its state.
    #[n(4)]
    Stored(#[n(0)] StoredResource),
    /// A resource is gone.
    #[n(5)]
    Deleted,
    /// The permit that was to be given back stays: a retry of its request was answered with it in the meantime.
    #[n(6)]
    Kept,
    /// No permit is needed: another request with the same coalesce key has made the call. Nothing was debited.
    #[n(8)]
    Shared(#[n(0)] SharedResult),
    /// So many results are gone.
    #[n(9)]
    Invalidated(#[n(0)] u64),
    /// The report was heeded. For so long nothing is granted with its key; zero if something is, or if only an order changes it.
    #[n(7)]
    Reported(#[n(0)] Span),
}

/// A resource, how often it was changed, and what operators ordered about it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoredResource {
    /// The definition.
    #[n(0)]
    pub resource: Resource,
    /// Rises with each change; never the same for two definitions, not even across deletion.
    #[n(1)]
    pub generation: u64,
    /// While it is paused as a whole.
    #[n(2)]
    pub pause: Option<Pause>,
    /// Its keys that are not active or are paused, in its order.
    #[cbor(n(3), default)]
    pub keys: Vec<KeyStatus>,
    /// What came of what its vendor answered.
    #[cbor(n(4), default)]
    pub vendor: Box<VendorStatus>,
}

impl StoredResource {
    /// About which nothing is ordered.
    pub fn new(resource: Resource, generation: u64) -> StoredResource {
        StoredResource { resource, generation, pause: None, keys: Vec::new(), vendor: Box::default() }
    }
}

/// A permit to make one call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// Its name.
    #[n(0)]
    pub permit: PermitId,
    /// The credential to use; empty when the resource has none.
    #[n(1)]
    pub key: Label,
    /// How long the call may still be dispatched; absent when no window applies.
    #[n(2)]
    pub use_within: Option<Span>,
    /// How long the slots are held; absent when there are none.
    #[n(3)]
    pub lease: Option<Span>,
    /// One for each concurrency limit that applies (without shadow limits).
    #[cbor(n(4), with = "super::inline")]
    pub slots: SmallVec<[Slot; 1]>,
    /// What is left, one for each limit that applies; empty on a replay.
    #[cbor(n(5), with = "super::inline")]
    pub usage: SmallVec<[LimitUsage; 4]>,
    /// The request id was granted before: nothing was debited now.
    #[n(6)]
    pub replayed: bool,
    /// Which of the resources it is for: 0 is the request's own, then its alternatives.
    #[cbor(n(7), default)]
    pub alternative: u32,
}

/// One place among N.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Slot {
    /// Of which limit.
    #[n(0)]
    pub limit: LimitName,
    /// Which place.
    #[n(1)]
    pub index: u32,
    /// Rises with every holder of the same index.
    #[n(2)]
    pub generation: u64,
}

/// What is left of a limit after a grant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LimitUsage {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// In force: as defined, or less where it is tightened.
    #[n(1)]
    pub amount: u64,
    /// Still to be had now; negative while in debt.
    #[n(2)]
    pub available: i64,
    /// Not enforced.
    #[n(3)]
    pub shadow: bool,
    /// A shadow limit that would have denied.
    #[n(4)]
    pub would_deny: bool,
}

/// Why there is no permit, and when to ask again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Denial {
    /// The one that frees last; only where limits are the reason, or the ramp of one.
    #[n(0)]
    pub limit: Option<LimitName>,
    /// All that have no room, whatever the reason.
    #[n(1)]
    pub exhausted: Vec<ExhaustedLimit>,
    /// Until the pause is over and all have room, exact when nobody else acquires, releases or gives orders; absent where
    /// only an order ends it.
    #[n(2)]
    pub retry_after: Option<Span>,
    /// What stands in the way.
    #[cbor(n(3), default)]
    pub reason: DenialReason,
    /// Which of the resources this is about, the one that could be had first: 0 is the request's own, then its
    /// alternatives.
    #[cbor(n(4), default)]
    pub alternative: u32,
}

impl Denial {
    /// Whether the request needs more than a limit ever has, or than a budget gets of it, until an operator says otherwise.
    pub fn never_fits(&self) -> bool {
        let by_limits =
            matches!(self.reason, DenialReason::LimitExhausted | DenialReason::BudgetExhausted { .. });
        by_limits && self.retry_after.is_none()
    }
}

/// What stands in the way of a permit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum DenialReason {
    /// Limits without room.
    #[default]
    #[n(0)]
    LimitExhausted,
    /// A pause.
    #[n(1)]
    Paused {
        /// Of this key; empty: of the resource as a whole.
        #[n(0)]
        key: Label,
        /// Which.
        #[n(1)]
        pause: Pause,
    },
    /// The key that was asked for, or every key that there is, is draining or disabled.
    #[n(2)]
    KeyUnavailable,
    /// Budgets: the limits themselves have room.
    #[n(3)]
    BudgetExhausted {
        /// The one that the consumer belongs to.
        #[n(0)]
        budget: Option<BudgetName>,
    },
    /// Others wait for the limit and are to go first. Never decided by the limiter, which knows nobody that waits.
    #[n(4)]
    OthersWait,
    /// Another request with the same coalesce key has the permit. `retry_after` is when the next one has it at the latest, if
    /// the lease is not renewed.
    #[n(9)]
    CallUnderWay,
    /// The vendor fails: it is left alone for a while, or tried with few calls.
    #[n(5)]
    CircuitOpen {
        /// The circuit of this key; empty: of the resource as a whole.
        #[n(0)]
        key: Label,
        /// Open, or half-open with all places taken.
        #[n(1)]
        circuit: Box<CircuitStatus>,
    },
    /// Permits are granted more slowly than the limits allow, after a pause or refusals: those of the limit that the denial names, else
    /// those of the key.
    #[n(6)]
    Paced {
        /// Of this key; empty: of the resource as a whole, or of the limit.
        #[n(0)]
        key: Label,
        /// How slowly.
        #[n(1)]
        pace: Box<PaceStatus>,
    },
}

/// A limit without room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExhaustedLimit {
    /// Which.
    #[n(0)]
    pub limit: LimitName,
    /// Of which scope value; empty for the whole resource.
    #[n(1)]
    pub scope_value: Label,
    /// In force: as defined, or less where it is tightened.
    #[n(2)]
    pub amount: u64,
    /// Still to be had now.
    #[n(3)]
    pub available: i64,
    /// Wanted.
    #[n(4)]
    pub requested: u64,
    /// Until it has room; [`Span::MAX`] where that is not before an operator says so.
    #[n(5)]
    pub retry_after: Span,
    /// The limit itself has room, or the budget is closed; this is what stands in the way.
    #[n(6)]
    pub budget: Option<BudgetCause>,
}

/// Why a command could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Rejection {
    /// No resource of that name.
    #[error("there is no resource of that name")]
    #[n(0)]
    ResourceNotFound,
    /// The name is taken.
    #[error("there is a resource of that name already; update it, or delete it first")]
    #[n(1)]
    ResourceExists,
    /// Somebody else changed it since.
    #[error("the resource has generation {current} by now; read it again and repeat the change")]
    #[n(2)]
    StaleGeneration {
        /// What it is now.
        #[n(0)]
        current: u64,
    },
    /// [`super::super::state`] holds as many resources as it may.
    #[error("there are {max} resources already, which is the most")]
    #[n(3)]
    TooManyResources {
        /// The bound.
        #[n(0)]
        max: u64,
    },
    /// A scoped limit counts as many values as it may, and none is idle.
    #[error(
        "limit {limit} counts {max} distinct values already, and none of them is idle; raise max_scope_values"
    )]
    #[n(4)]
    TooManyScopeValues {
        /// Which limit.
        #[n(0)]
        limit: LimitName,
        /// Its bound.
        #[n(1)]
        max: u32,
    },
    /// The request does not fit the resource, now or ever.
    #[error("{0}")]
    #[n(5)]
    Invalid(#[n(0)] Violation),
    /// The request id was granted before, with another body.
    #[error("this request id was granted before with another body; use a new id for a new request")]
    #[n(6)]
    RequestIdReused,
    /// The id was never granted.
    #[error("no permit of that id was ever granted")]
    #[n(7)]
    PermitNotFound,
    /// Released, expired, or forgotten after its time to settle.
    #[error("the permit was released or has expired; it never revives: acquire a new one")]
    #[n(8)]
    PermitEnded,
    /// It holds no slot: there is nothing to renew.
    #[error("the permit holds no slot, so it has no lease to renew")]
    #[n(9)]
    PermitWithoutLease,
    /// Its key was disabled.
    #[error("the permit's key is disabled: stop using it")]
    #[n(10)]
    KeyDisabled,
    /// No resource of the name of one of the alternatives.
    #[error("alternatives[{position}] is {resource}, and there is no resource of that name")]
    #[n(11)]
    AlternativeNotFound {
        /// Which of them, counted from 0.
        #[n(0)]
        position: u32,
        /// What it names.
        #[n(1)]
        resource: ResourceName,
    },
    /// As many coalesced calls of the resource are under way as may.
    #[error("{max} calls with a coalesce key are under way at the resource, which is the most")]
    #[n(14)]
    TooManyCoalescedCalls {
        /// The bound.
        #[n(0)]
        max: u64,
    },
    /// As many permits have a lease as may, over all resources.
    #[error("{max} permits have a lease, over all resources, which is the most; release what is done")]
    #[n(15)]
    TooManyLeases {
        /// The bound.
        #[n(0)]
        max: u64,
    },
    /// As much memory is taken by counters as may be, over all resources, and no idle ones were found.
    #[error(
        "the counters of all resources take {max_bytes} bytes already, and no idle ones were found; count fewer scope values, or \
         give sliding windows a lower resolution"
    )]
    #[n(16)]
    TooManyCounters {
        /// The bound.
        #[n(0)]
        max_bytes: u64,
    },
}
