//! What happened in a run, as its clients and its nodes saw it: what simulations and real clusters record, and what the
//! checkers judge ([`crate::check`]).
//!
//! Two kinds of evidence, kept apart so that neither can blind the other. *Events* are what clients see from outside: they
//! ask, are answered, or are gone. *Applications* are what nodes make of the log, which only a simulation can look at. All
//! times are of one clock that is right: the simulator's, or the monotonic one of the process that records.

mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tollgate_limiter::{Answer, Command, Span, Stamp};
use tollgate_server::raft::{call, members::NodeId};

pub use self::standing::{Comparison, Ending, Held, Interregnum, Standing};

/// Names one try of one request.
pub type OpId = u64;

/// Names who asks.
pub type ClientId = u64;

/// A recorded run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By how much any node's or client's monotonic clock may run fast or slow: the ρ of the guarantees.
    pub drift_ppm: u64,
    /// What clients saw, in the order in which it happened.
    pub events: Vec<Event>,
    /// What nodes applied, in the order in which it happened; empty where nobody can look inside.
    pub applied: Vec<Applied>,
    /// Where nodes stood when they took a state over from a snapshot.
    pub restored: Vec<Standing>,
    /// When leaders proposed entries, by index and term; empty where nobody can look inside.
    pub proposed: BTreeMap<(u64, u64), Span>,
    /// Who led in which term; empty where nobody can look inside.
    pub led: BTreeSet<(u64, NodeId)>,
    /// When leaders that were asked to go after healing had no successor yet, in order; empty where nobody can look inside.
    pub interregna: Vec<Interregnum>,
    /// How far the members had come some time after healing; absent where nobody can look inside, or nothing healed.
    pub comparison: Option<Comparison>,
    /// How it ended; absent if it broke off.
    pub ending: Option<Ending>,
    operations: u64,
    latest: BTreeMap<u64, Arc<Entry>>,
}

/// One thing that a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Real time since the beginning of the run.
    pub at: Span,
    /// Of which operation.
    pub op: OpId,
    /// What.
    pub kind: EventKind,
}

/// The life of an operation: an invocation, and at most one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A client asks.
    Invoke {
        /// Who.
        client: ClientId,
        /// What.
        call: Call,
    },
    /// A node took the call in. Only a simulation can tell; an operation that is handed on arrives more than once.
    Arrive {
        /// Which.
        node: NodeId,
    },
    /// A node that holds the call learns that nobody waits for its answer any more. Only a simulation can tell.
    Leave {
        /// Which.
        node: NodeId,
    },
    /// The client is answered.
    Reply(Reply),
    /// The client has crashed, or does not want the answer any more.
    Gone,
}

/// What is asked, beside who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to do.
    pub command: Command,
    /// 0 or 1 for the first try; retries carry the same request id.
    pub attempt: u32,
    /// How long it may wait for its turn, earlier tries included.
    pub max_wait: Span,
    /// How long ago its first try was asked, as its client says.
    pub waited_for: Span,
}

impl Call {
    /// A first try that does not wait.
    pub fn new(command: Command) -> Call {
        Call { command, attempt: 1, max_wait: Span::ZERO, waited_for: Span::ZERO }
    }

    /// How long it has waited before, as far as that is believed.
    pub fn waited_before(&self) -> Span {
        self.waited_for.min(self.max_wait)
    }

    /// How long it may wait yet.
    pub fn patience(&self) -> Span {
        self.max_wait.saturating_sub(self.waited_for)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all replies are answers")]
pub enum Reply {
    /// The limiter's answer. Recorders of real clusters fill in what the wire tells; what is left is empty.
    Answer(Answer),
    /// A definite failure: nothing was done, and nothing will be.
    NotDone,
    /// It may have been done, or may yet be.
    Unknown,
}

impl Reply {
    /// A replica's answer to a command; none for what is no answer to a command.
    pub fn of(result: &Result<call::Reply, call::Refusal>) -> Option<Reply> {
        use call::Refusal;
        match result {
            Ok(call::Reply::Answer { answer, .. }) => Some(Reply::Answer((**answer).clone())),
            Ok(_) => None,
            Err(Refusal::OutcomeUnknown | Refusal::DeadlineExceeded) => Some(Reply::Unknown),
            Err(_) => Some(Reply::NotDone),
        }
    }
}

/// A log entry, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
    /// When it was proposed, in cluster and wall time; absent where it carries nothing for the limiter: a new leader's
    /// first, a change of the members.
    pub stamp: Option<Stamp>,
    /// What it carries.
    pub commands: Vec<Command>,
    /// One a command.
    pub answers: Vec<Answer>,
    /// Of the state after it.
    pub digest: u64,
}

/// A node applied an entry. After a restart it applies again what its snapshot does not contain.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Real time.
    pub at: Span,
    /// Which node.
    pub node: NodeId,
    /// What.
    pub entry: Arc<Entry>,
}

/// Recording. Times must not go backwards from call to call.
impl History {
    /// Of clocks that run fast or slow by so many millionths at most.
    pub fn new(drift_ppm: u64) -> History {
        History { drift_ppm, ..History::default() }
    }

    /// A client asks.
    pub fn invoke(&mut self, at: Span, client: ClientId, call: Call) -> OpId {
        self.operations += 1;
        self.note(at, self.operations, EventKind::Invoke { client, call });
        self.operations
    }

    /// A node took the call in.
    pub fn arrive(&mut self, at: Span, op: OpId, node: NodeId) {
        self.note(at, op, EventKind::Arrive { node });
    }

    /// A node that holds the call learns that nobody waits for its answer any more.
    pub fn leave(&mut self, at: Span, op: OpId, node: NodeId) {
        self.note(at, op, EventKind::Leave { node });
    }

    /// The client is answered.
    pub fn reply(&mut self, at: Span, op: OpId, reply: Reply) {
        self.note(at, op, EventKind::Reply(reply));
    }

    /// The client has crashed, or does not want the answer any more.
    pub fn gone(&mut self, at: Span, op: OpId) {
        self.note(at, op, EventKind::Gone);
    }

    /// A node applied an entry. Equal entries are kept once.
    pub fn apply(&mut self, at: Span, node: NodeId, entry: impl Into<Arc<Entry>>) {
        let entry: Arc<Entry> = entry.into();
        let known =
            self.latest.get(&entry.index).filter(|known| Arc::ptr_eq(known, &entry) || **known == entry);
        let entry = known.cloned().unwrap_or(entry);
        self.latest.insert(entry.index, entry.clone());
        self.applied.push(Applied { at, node, entry });
    }

    /// A leader proposed an entry.
    pub fn propose(&mut self, at: Span, index: u64, term: u64) {
        self.proposed.entry((index, term)).or_insert(at);
    }

    /// A node leads in a term. Returns whether that is news.
    pub fn lead(&mut self, node: NodeId, term: u64) -> bool {
        self.led.insert((term, node))
    }

    /// A node's state is that of a snapshot from now on.
    pub fn restore(&mut self, standing: Standing) {
        self.restored.push(standing);
    }

    fn note(&mut self, at: Span, op: OpId, kind: EventKind) {
        self.events.push(Event { at, op, kind });
    }
}

/// Reading.
impl History {
    /// The log as it was known last, in order.
    pub fn log(&self) -> impl Iterator<Item = &Entry> {
        self.latest.values().map(|entry| &**entry)
    }

    /// All operations, by their invocation.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::<Operation>::with_capacity(self.operations as usize);
        // By their number, which counts from 1.
        let mut position = vec![usize::MAX; self.operations as usize + 1];
        for event in &self.events {
            if let EventKind::Invoke { client, call } = &event.kind {
                let (op, client, invoked_at) = (event.op, *client, event.at);
                position[op as usize] = operations.len();
                operations.push(Operation {
                    op,
                    client,
                    invoked_at,
                    call,
                    arrivals: vec![],
                    left: None,
                    end: None,
                });
                continue;
            }
            let Some(operation) = operations.get_mut(position[event.op as usize]) else { continue };
            match &event.kind {
                EventKind::Arrive { node } => operation.arrivals.push((event.at, *node)),
                EventKind::Leave { node } => operation.left = Some((event.at, *node)),
                EventKind::Reply(reply) => operation.end = Some((event.at, Some(reply))),
                _ => operation.end = Some((event.at, None)),
            }
        }
        operations
    }
}

/// One operation as its client saw it.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    /// Which.
    pub op: OpId,
    /// Who asked.
    pub client: ClientId,
    /// When.
    pub invoked_at: Span,
    /// What.
    pub call: &'a Call,
    /// When which node took it in.
    pub arrivals: Vec<(Span, NodeId)>,
    /// When the node that holds it learned that nobody waits any more.
    pub left: Option<(Span, NodeId)>,
    /// The reply and when it came; no reply when the client was gone by then; absent when neither came to pass.
    pub end: Option<(Span, Option<&'a Reply>)>,
}

impl<'a> Operation<'a> {
    /// The limiter's answer and when it came.
    pub fn answer(&self) -> Option<(Span, &'a Answer)> {
        match self.end {
            Some((at, Some(Reply::Answer(answer)))) => Some((at, answer)),
            _ => None,
        }
    }
}
