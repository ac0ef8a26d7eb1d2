//! What can be asked of a replica, and what it answers: the words of the door, and of the stream on which a follower
//! hands calls to the leader. Encoded by `minicbor` with numbered fields, as the log is.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use tollgate_limiter::{
    Answer, Called, ClusterTime, Command, FeedbackRules, Label, Outcome, PermitId, RequestId, ResourceName,
    ResourceUsage, Span, StoredResource, Work, WorkEstimate, WorkRejection,
};

use super::members::{Member, NodeId};

/// Names a call at the door of the node that decides it. Never used twice in the life of a process.
pub type CallNumber = u64;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Call {
    /// Change the limiter's state, through the log.
    #[n(0)]
    Command {
        /// What to do.
        #[n(0)]
        command: Command,
        /// 0 or 1 for the first try of a request. A retry always goes through the log.
        #[n(1)]
        attempt: u32,
        /// For an acquire: that it may wait for its turn, and how long. None: it is decided at once.
        #[n(2)]
        wait: Option<Wait>,
    },
    /// Read, linearizably.
    #[n(1)]
    Query(#[n(0)] Query),
    /// Add a member as a learner; it is promoted by itself once it has caught up.
    #[n(2)]
    AddMember(#[n(0)] Member),
    /// Remove a member.
    #[n(3)]
    RemoveMember(#[n(0)] NodeId),
    /// Hand leadership over; 0: to the voter that is furthest along.
    #[n(4)]
    TransferLeadership(#[n(0)] NodeId),
    /// The leader met a member whose data directory it did not know yet. Only the leader's own transport says it.
    #[n(5)]
    RegisterIncarnation {
        /// Which member.
        #[n(0)]
        id: NodeId,
        /// Its data directory's.
        #[n(1)]
        incarnation: u64,
    },
}

/// How long a request may wait for its turn. Patience is counted from the first try, whoever led then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Wait {
    /// From the first try on; never beyond the call's deadline.
    #[n(0)]
    pub max_wait: Span,
    /// What of it had passed when this try began. No more than `max_wait` is believed.
    #[n(1)]
    pub waited_for: Span,
}

impl Wait {
    /// How long it had waited before, as far as that is believed.
    pub fn before(self) -> Span {
        self.waited_for.min(self.max_wait)
    }

    /// How long it may wait from now on.
    pub fn left(self) -> Span {
        self.max_wait.saturating_sub(self.waited_for)
    }
}

/// A command that is decided at once.
impl From<Command> for Call {
    fn from(command: Command) -> Call {
        Call::Command { command, attempt: 0, wait: None }
    }
}

impl Call {
    /// How long it may wait, if it may.
    pub fn wait(&self) -> Option<Wait> {
        match self {
            Call::Command { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether asking twice does no more than asking once, so that a call whose outcome is unknown may be asked again.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Call::Query(_) => true,
            Call::Command { command: Command::Acquire(acquire), .. } => acquire.request_id.is_some(),
            // The client counts its lease from the first try, so a later renewal only errs on the safe side.
            Call::Command { command: Command::Renew(_), .. } => true,
            // The later one is the longer by the time between them.
            Call::Command { command: Command::HoldBack(_), .. } => true,
            // The second finds less to drop.
            Call::Command { command: Command::InvalidateResults(_), .. } => true,
            // Without its permit nobody knows that it is the same.
            Call::Command { command: Command::Report(report), .. } => report.permit.is_some(),
            _ => false,
        }
    }

    /// The next try of the same call. From the second on, it is decided through the log.
    pub fn count_attempt(&mut self) {
        if let Call::Command { attempt, .. } = self {
            *attempt = attempt.saturating_add(1).max(2);
        }
    }

    /// A try that began so long after the first one of this call ended without an answer: the next one takes its place.
    pub fn has_waited(&mut self, first: Wait, since: Span) {
        if let Call::Command { wait: Some(wait), .. } = self {
            wait.waited_for = first.before() + since;
        }
    }

    /// Gives a request that may wait an id, unless it has one: a call that is open for long is likely to meet a leader that
    /// goes away, and can be asked again safely then.
    pub fn name_if_waiting(&mut self, id: impl FnOnce() -> RequestId) {
        if let Call::Command { command: Command::Acquire(acquire), wait: Some(_), .. } = self
            && acquire.request_id.is_none()
        {
            Arc::make_mut(acquire).request_id = Some(id());
        }
    }
}

/// What can be read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Query {
    /// One resource.
    #[n(0)]
    Resource(#[n(0)] ResourceName),
    /// Resources by name.
    #[n(1)]
    Resources {
        /// Only names after this one.
        #[n(0)]
        after: Option<ResourceName>,
        /// Only names that begin with this.
        #[n(1)]
        prefix: String,
        /// At most so many.
        #[n(2)]
        max: u32,
    },
    /// Live figures.
    #[n(2)]
    Usage {
        /// Of which resource.
        #[n(0)]
        name: ResourceName,
        /// Only this scope value.
        #[n(1)]
        scope_value: Option<Label>,
        /// Counters per limit, at most.
        #[n(2)]
        max_scope_values: u32,
    },
    /// The cluster as the leader sees it.
    #[n(3)]
    Cluster,
    /// The cluster as the node that is asked sees it, leader or not: answered at once, even without a leader.
    #[n(4)]
    ClusterHere,
    /// How long some work would take.
    #[n(5)]
    Estimate(#[n(0)] Work),
    /// How a resource heeds the answers to its calls, as far as the node that is asked knows, leader or not: answered at once.
    #[n(6)]
    FeedbackRulesHere(#[n(0)] Called),
}

/// The answer to a call. It goes from hand to hand: what is large is behind a box.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// To a command: what the limiter said when it was applied (or, for a denial, before).
    #[n(0)]
    Answer {
        /// What it said.
        #[n(0)]
        answer: Box<Answer>,
        /// How long the request waited for its turn, and for a leader before that, at earlier tries too; zero if it was decided at once.
        #[cbor(n(1), default)]
        waited: Span,
    },
    /// To [`Query::Resource`].
    #[n(1)]
    Resource(#[n(0)] Option<Box<StoredResource>>),
    /// To [`Query::Resources`]; `more` when the page was full and others follow.
    #[n(2)]
    Resources {
        /// By name.
        #[n(0)]
        page: Vec<StoredResource>,
        /// Others follow.
        #[n(1)]
        more: bool,
    },
    /// To [`Query::Usage`]; none when there is no such resource.
    #[n(3)]
    Usage(#[n(0)] Option<Box<ResourceUsage>>),
    /// To [`Query::Cluster`] and [`Query::ClusterHere`].
    #[n(4)]
    Cluster(#[n(0)] Box<ClusterView>),
    /// To a change of members, or of the leader.
    #[n(5)]
    Changed(#[n(0)] Result<MemberChange, MemberRefusal>),
    /// To [`Query::Estimate`].
    #[n(6)]
    Estimate(#[n(0)] Box<Result<WorkEstimate, WorkRejection>>),
    /// To [`Query::FeedbackRulesHere`]; the defaults if it is not known.
    #[n(7)]
    FeedbackRules(#[n(0)] Box<FeedbackRules>),
}

/// The answer to what was decided at once.
impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply::Answer { answer: Box::new(answer), waited: Span::ZERO }
    }
}

impl Reply {
    /// The permit that must be given back if this reply reaches nobody. Not that of a replay: another try of the same
    /// request may have delivered it.
    pub fn permit_to_give_back(&self) -> Option<PermitId> {
        match self.answer()? {
            Ok(Outcome::Granted(grant)) if !grant.replayed => Some(grant.permit),
            _ => None,
        }
    }

    /// What the limiter said, if a command was asked.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Reply::Answer { answer, .. } => Some(answer),
            _ => None,
        }
    }
}

/// What a change of members or of the leader did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum MemberChange {
    /// The learner is part of the configuration.
    #[n(0)]
    Added(#[n(0)] MemberView),
    /// The member is not part of it any more.
    #[n(1)]
    Removed,
    /// This node leads now.
    #[n(2)]
    Transferred(#[n(0)] NodeId),
    /// The incarnation is recorded.
    #[n(3)]
    Registered,
}

/// Why the membership stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum MemberRefusal {
    /// The id or an address is taken.
    #[error("member {0} has that id or address already")]
    #[n(0)]
    Exists(#[n(0)] NodeId),
    /// The id was a member's once.
    #[error("node id {0} was removed before, and a removed id is never used again: choose a new one")]
    #[n(1)]
    IdWasRemoved(#[n(0)] NodeId),
    /// No such member.
    #[error("there is no member {0}")]
    #[n(2)]
    NotFound(#[n(0)] NodeId),
    /// One at a time.
    #[error("another change of the membership is in progress; try again when it is done")]
    #[n(3)]
    ChangeInProgress,
    /// The cluster would have no voter.
    #[error("member {0} is the last voter; a cluster cannot be without one")]
    #[n(4)]
    LastVoter(#[n(0)] NodeId),
    /// Only a voter can lead.
    #[error("member {0} is not a voter")]
    #[n(5)]
    NotAVoter(#[n(0)] NodeId),
    /// The other node did not take over in time.
    #[error("member {0} did not take over within an election timeout; the old leader goes on")]
    #[n(6)]
    TransferTimedOut(#[n(0)] NodeId),
    /// It is known by another data directory.
    #[error(
        "member {0} is known by another data directory: it lost its disk; remove it and add it under a new id"
    )]
    #[n(7)]
    WipedData(#[n(0)] NodeId),
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClusterView {
    /// 0: none known.
    #[n(0)]
    pub leader: NodeId,
    /// The Raft term.
    #[n(1)]
    pub term: u64,
    /// On a quorum.
    #[n(2)]
    pub commit_index: u64,
    /// Applied here.
    #[n(3)]
    pub applied_index: u64,
    /// Digest of everything applied.
    #[n(4)]
    pub digest: u64,
    /// Of the last entry applied.
    #[n(5)]
    pub cluster_time: ClusterTime,
    /// Who answers.
    #[n(6)]
    pub answered_by: NodeId,
    /// By id.
    #[n(7)]
    pub members: Vec<MemberView>,
}

/// One member as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MemberView {
    /// Who.
    #[n(0)]
    pub member: Member,
    /// Votes.
    #[n(1)]
    pub voter: bool,
    /// Was heard from within an election timeout; on a follower, only itself and the leader.
    #[n(2)]
    pub reachable: bool,
    /// On its disk, as the leader knows; 0 on a follower.
    #[n(3)]
    pub matched_index: u64,
}

/// How to go on when an outcome is not known.
const REPEAT: &str = "acquire again with the same request_id; renew or release again, where PERMIT_ENDED may mean that it \
    was done; before any other change is repeated, read what is there";

/// Why a call was not answered. Typed by what the caller can do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Refusal {
    /// Nothing was done; ask the leader.
    #[error("this node does not lead")]
    #[n(0)]
    NotLeader {
        /// Who does, if known.
        #[n(0)]
        leader: Option<NodeId>,
    },
    /// Nothing was done; there is nobody to ask now.
    #[error("no leader is known: the cluster has no quorum, or is electing")]
    #[n(1)]
    NoLeader,
    /// Nothing was done; too much is under way.
    #[error("too many calls are under way; try again in {retry_after}")]
    #[n(2)]
    Overloaded {
        /// When to try again.
        #[n(0)]
        retry_after: Span,
    },
    /// It may have been done, or may yet be.
    #[error("the outcome is not known: it may have taken effect; {REPEAT}")]
    #[n(3)]
    OutcomeUnknown,
    /// Nothing was done; the node is going away.
    #[error("this node is shutting down; ask another one")]
    #[n(4)]
    ShuttingDown,
    /// Nothing was done; nothing can be written.
    #[error(
        "the leader has less room on its disk than its reserve (storage.disk_reserve): nothing is granted, renewed or \
         released until it has more, or a node with room leads"
    )]
    #[n(5)]
    StorageFull,
    /// The deadline passed while the outcome was open.
    #[error("the deadline passed before the answer: it may have taken effect; {REPEAT}")]
    #[n(6)]
    DeadlineExceeded,
    /// Nothing was done; as many requests wait as may.
    #[error("as many requests wait for {queue} as may ({max}); try again in {retry_after}")]
    #[n(7)]
    QueueFull {
        /// Which queue.
        #[n(0)]
        queue: FullQueue,
        /// How many it holds.
        #[n(1)]
        max: u64,
        /// When to try again, at the earliest.
        #[n(2)]
        retry_after: Span,
    },
}

/// What has as many waiting requests as it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum FullQueue {
    /// The resource: [`tollgate_limiter::Queueing::max_waiters`].
    #[error("resource {0}")]
    #[n(0)]
    Resource(#[n(0)] ResourceName),
    /// The consumer, at one resource: [`tollgate_limiter::Queueing::max_waiters_per_consumer`].
    #[error("consumer {0:?} at this resource")]
    #[n(1)]
    Consumer(#[n(0)] Label),
    /// All resources of the cluster together.
    #[error("all resources together")]
    #[n(2)]
    Cluster,
}
