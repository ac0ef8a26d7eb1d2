//! What can be asked of the limiter.

use std::{collections::BTreeMap, sync::Arc};

use minicbor::{Decode, Encode};

use super::{
    Alternative, CallResult, CoalesceKey, Dimension, HoldBack, InvalidateResults, Label, PauseResource,
    Report, RequestId, Resource, ResourceName, ResumeResource, SetKeyState, Span, VendorAnswer,
};

/// A change, as the log carries it. Everything in it was checked as far as it can be without the state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Ask for a permit. Many hold a request while it is open: who tries it again, who counts it, the queue, its entry.
    #[n(0)]
    Acquire(#[cbor(n(0), with = "super::shared")] Arc<Acquire>),
    /// Extend a lease.
    #[n(1)]
    Renew(#[n(0)] Renew),
    /// End a permit.
    #[n(2)]
    Release(#[n(0)] Release),
    /// Add a resource.
    #[n(3)]
    CreateResource(#[n(0)] Box<Resource>),
    /// Replace a resource's definition.
    #[n(4)]
    UpdateResource(#[n(0)] Box<UpdateResource>),
    /// Remove a resource.
    #[n(5)]
    DeleteResource(#[n(0)] DeleteResource),
    /// Give back a grant that nobody was left to receive. Only the node that noticed it says so.
    #[n(6)]
    GiveBack(#[n(0)] PermitId),
    /// Grant nothing for a while.
    #[n(7)]
    PauseResource(#[n(0)] PauseResource),
    /// End a pause.
    #[n(8)]
    ResumeResource(#[n(0)] ResumeResource),
    /// Take a key out of use, or back into it.
    #[n(9)]
    SetKeyState(#[n(0)] SetKeyState),
    /// Grant nothing for as long as a vendor wants. In logs from before there were reports.
    #[n(11)]
    HoldBack(#[n(0)] HoldBack),
    /// Drop what calls were answered with.
    #[n(14)]
    InvalidateResults(#[n(0)] InvalidateResults),
    /// Heed how a call ended and what the vendor said.
    #[n(12)]
    Report(#[n(0)] Box<Report>),
    /// Ask for a permit of one of the request's resources alone. Only the leader says it, which knows whose turn it is
    /// where. A retry is known by the whole request, whichever of its resources it is put to.
    #[n(10)]
    AcquireFrom {
        /// The whole request.
        #[cbor(n(0), with = "super::shared")]
        acquire: Arc<Acquire>,
        /// Which of its resources: 0 is its own, then its alternatives.
        #[n(1)]
        alternative: u32,
    },
}

impl From<Acquire> for Command {
    fn from(acquire: Acquire) -> Command {
        Command::Acquire(Arc::new(acquire))
    }
}

impl From<Resource> for Command {
    fn from(resource: Resource) -> Command {
        Command::CreateResource(Box::new(resource))
    }
}

impl From<UpdateResource> for Command {
    fn from(update: UpdateResource) -> Command {
        Command::UpdateResource(Box::new(update))
    }
}

impl From<Report> for Command {
    fn from(report: Report) -> Command {
        Command::Report(Box::new(report))
    }
}

/// Ask for a permit: all limits that apply are debited, or none.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Acquire {
    /// Which account.
    #[n(0)]
    pub resource: ResourceName,
    /// What for; selects limits.
    #[n(1)]
    pub operation: Label,
    /// 1 to [`MAX_AMOUNT`]; 0: what the resource says that the operation costs ([`Resource::operation_costs`]).
    #[n(2)]
    pub cost: u64,
    /// Per dimension, each at most [`MAX_AMOUNT`].
    #[n(3)]
    pub amounts: BTreeMap<Dimension, u64>,
    /// Who asks; may be empty.
    #[n(4)]
    pub consumer: Label,
    /// On whose behalf; may be empty.
    #[n(5)]
    pub subject: Label,
    /// The credential wanted; empty: the one with the most headroom.
    #[n(6)]
    pub key: Label,
    /// Compared with others that wait.
    #[n(7)]
    pub priority: Priority,
    /// How long to live; the limit's default if absent.
    #[n(8)]
    pub lease: Option<Span>,
    /// Makes retries safe.
    #[n(9)]
    pub request_id: Option<RequestId>,
    /// Other resources that would do as well, in the order of preference; at most [`super::MAX_ALTERNATIVES`]. Nothing is
    /// written where there are none: the encoding of such a request is what it was before there were alternatives.
    #[cbor(n(10), skip_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
    /// Of requests with the same key at the same resource one makes the call, and the others have its result. Not together
    /// with alternatives.
    #[n(11)]
    pub coalesce_key: Option<CoalesceKey>,
}

/// How urgent a request is; the greater first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Priority {
    /// Bulk work.
    #[n(0)]
    Low,
    /// The default.
    #[default]
    #[n(1)]
    Medium,
    /// Interactive work.
    #[n(2)]
    High,
}

/// The largest cost or amount of a request, and the largest amount of a limit: far above any vendor's numbers, far
/// below where 128-bit sums of amounts times nanoseconds could overflow.
pub const MAX_AMOUNT: u64 = 1_000_000_000_000;

/// Names a permit, for ever: the count of permits ever granted in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PermitId(#[n(0)] pub u64);

/// Extend a lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    /// Whose.
    #[n(0)]
    pub permit: PermitId,
    /// From now; the limit's default if absent.
    #[n(1)]
    pub lease: Option<Span>,
}

/// End a permit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// Which.
    #[n(0)]
    pub permit: PermitId,
    /// How the call ended.
    #[n(1)]
    pub outcome: CallOutcome,
    /// What it truly cost, if that is not what was acquired.
    #[n(2)]
    pub cost: Option<u64>,
    /// What it truly weighed, where that is not what was acquired.
    #[n(3)]
    pub amounts: BTreeMap<Dimension, u64>,
    /// For the others that want the same; only of a permit whose request had a coalesce key.
    #[n(6)]
    pub result: Option<CallResult>,
    /// What the vendor said of its limits.
    #[n(4)]
    pub answer: Option<Box<VendorAnswer>>,
}

/// How a vendor call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum CallOutcome {
    /// Served.
    #[default]
    #[n(0)]
    Ok,
    /// Refused for the vendor's limits.
    #[n(1)]
    Throttled,
    /// Refused as wrong.
    #[n(2)]
    ClientError,
    /// Failed.
    #[n(3)]
    ServerError,
    /// Never left: everything is given back.
    #[n(4)]
    NotSent,
    /// Not answered, or not in time; it may have been served.
    #[n(5)]
    Timeout,
    /// Nobody knows: it may have arrived. It says nothing of the vendor.
    #[n(6)]
    Unknown,
}

/// Replace a resource's definition.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UpdateResource {
    /// The new definition.
    #[n(0)]
    pub resource: Resource,
    /// The generation that the editor read.
    #[n(1)]
    pub generation: u64,
}

/// Remove a resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeleteResource {
    /// Which.
    #[n(0)]
    pub name: ResourceName,
    /// The generation that the editor read; 0: any.
    #[n(1)]
    pub generation: u64,
}
