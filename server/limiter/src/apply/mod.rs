//! How a command changes the state.
//!
//! An acquire goes: `acquire.rs` (is it a replay) → `coalesce.rs` (does another one make the call) → `alternatives.rs` (of several resources, which) → `request.rs` (is it
//! valid there, which limits apply, and what it weighs) → `evaluate.rs` (does it fit, or when would it; `budget.rs` says what
//! budgets let a consumer have) → `headroom.rs` (which key has the most room) → `grant.rs` (debit everything). The leader's
//! cheap refusal ([`Limiter::refuse`]) goes the same way up to the evaluation, so the two can never disagree; and so does
//! what those who wait are told to wait for (`outlook.rs`).
//!
//! Limits apply to the operations that their patterns match (`operations.rs`).

mod acquire;
mod alternatives;
mod availability;
pub(crate) mod budget;
mod budget_claim;
mod budget_debit;
mod budget_usage;
mod coalesce;
mod counters;
mod digest;
mod evaluate;
mod expire;
mod figures;
mod grant;
mod headroom;
mod holds;
pub(crate) mod operations;
mod outlook;
mod release;
mod renew;
mod report;
mod request;
mod resources;
mod usage;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod properties;

use std::convert::Infallible;

use minicbor::{Decode, Encode, encode::Write};

use self::counters::CounterBytes;
pub use self::outlook::{Freed, Line, Obstacle, Passage, Signature};
use crate::{
    model::{
        Answer, CircuitState, CircuitTurn, ClusterTime, Command, PermitId, ResourceName, Stamp,
        StoredResource,
    },
    state::{AHEAD, Permits, RequestIds, Resources, ResultEnds},
};

/// The state machine. Cloning is cheap (the copies share what neither has changed since), so that a snapshot can be
/// encoded in the background while grants go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Limiter {
    #[n(0)]
    now: Stamp,
    #[n(1)]
    digest: u64,
    /// Permits ever granted: the last id given.
    #[n(2)]
    permits_granted: u64,
    /// Definitions ever stored: the last generation given.
    #[n(3)]
    definitions_stored: u64,
    #[n(4)]
    leases_expired: u64,
    #[n(5)]
    pub(crate) resources: Resources,
    #[n(6)]
    pub(crate) permits: Permits,
    #[n(7)]
    request_ids: RequestIds,
    #[cbor(skip)]
    result_ends: ResultEnds,
    #[cbor(n(8), default)]
    circuits_opened: u64,
    #[cbor(skip)]
    counter_bytes: CounterBytes,
    /// The resource up to which idle counters were looked for.
    #[n(9)]
    swept: Option<ResourceName>,
    #[cbor(skip)]
    turns: Turns,
}

/// The circuits that the last entry turned, for the log of a node: no part of the state, so states that differ in it are equal.
#[derive(Clone, Debug, Default)]
struct Turns(Vec<CircuitTurn>);

impl PartialEq for Turns {
    fn eq(&self, _: &Turns) -> bool {
        true
    }
}

impl Eq for Turns {}

/// A snapshot that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limiter's snapshot cannot be read: {0}")]
pub struct Corrupt(pub String);

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Resources defined.
    pub resources: u64,
    /// Permits that hold slots or can still be settled.
    pub permits_live: u64,
    /// Those of them that have a lease, or had one and keep their slots for a while.
    pub permits_leased: u64,
    /// Leases that ran out since the beginning.
    pub leases_expired: u64,
    /// Results kept for requests with a coalesce key.
    pub results: u64,
    /// What they take of memory, roughly.
    pub result_bytes: u64,
    /// What counters take of memory at most, when each is as large as it can become.
    pub counter_bytes: u64,
    /// Circuits that opened since the beginning, each time that a probe failed too.
    pub circuits_opened: u64,
}

impl Limiter {
    /// Moves time to the stamp, ends leases that have run out by then (so many at a time; no decision waits for it), and
    /// carries out the commands in order. One answer a command is pushed to `answers`. The same entries in the same order
    /// give the same answers, state and digest everywhere.
    pub fn apply(&mut self, stamp: Stamp, commands: &[Command], answers: &mut Vec<Answer>) {
        self.now = self.now.max(stamp);
        self.digest = digest::fold_stamp(self.digest, self.now);
        self.turns.0.clear();
        self.expire();
        for commands in commands.chunks(AHEAD) {
            self.resources.fetch(commands.iter().filter_map(asked_for));
            for command in commands {
                answers.push(self.carry_out(command));
                let answer = answers.last().expect("it was pushed just now");
                self.digest = digest::fold_answer(self.digest, answer);
            }
        }
    }

    /// What can be answered without the log, because it would change nothing: a denial, or a rejection of an acquire.
    /// `None`: propose it. Never call it for a retry, nor before the leader has applied an entry of its own term.
    pub fn refuse(&self, stamp: Stamp, command: &Command) -> Option<Answer> {
        let now = self.now.max(stamp);
        match command {
            Command::Acquire(acquire) => self.refuse_acquire(acquire, acquire.choices(), now),
            Command::AcquireFrom { acquire, alternative } => {
                self.refuse_acquire(acquire, *alternative..=*alternative, now)
            }
            _ => None,
        }
    }

    /// When the next lease runs out: an entry stamped then or later frees it.
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.permits.next_due()
    }

    /// The stamp of the last entry applied.
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// Digest of every answer given so far, chained: equal on all nodes at the same entry, or they have diverged.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// One resource, with what is in force of its pauses at `stamp`.
    pub fn resource(&self, stamp: Stamp, name: &ResourceName) -> Option<StoredResource> {
        let now = self.now.max(stamp).cluster;
        self.resources.get(name).map(|state| state.stored(now))
    }

    /// Resources by name, after `after`, beginning with `prefix`, at most `max`, as [`resource`](Self::resource) gives
    /// them; and whether others follow.
    pub fn resources(
        &self,
        stamp: Stamp,
        after: Option<&ResourceName>,
        prefix: &str,
        max: usize,
    ) -> (Vec<StoredResource>, bool) {
        let mut matching = self
            .resources
            .names_after(after)
            .skip_while(|name| name.as_str() < prefix)
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter_map(|name| self.resource(stamp, name));
        let page = matching.by_ref().take(max).collect();
        (page, matching.next().is_some())
    }

    /// How many resources there are, how many permits are live, how many leases ran out since the beginning.
    pub fn totals(&self) -> Totals {
        Totals {
            resources: self.resources.len() as u64,
            permits_live: self.permits.len() as u64,
            permits_leased: self.permits.leased() as u64,
            leases_expired: self.leases_expired,
            results: self.result_ends.len() as u64,
            result_bytes: self.result_ends.bytes(),
            counter_bytes: self.counter_bytes.get(),
            circuits_opened: self.circuits_opened,
        }
    }

    /// The circuits that the last entry opened or closed, in order.
    pub fn turned(&self) -> &[CircuitTurn] {
        &self.turns.0
    }

    /// The whole state, for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// The same, into what takes everything: whoever writes beside others can pause there.
    pub fn encode_into<W: Write<Error = Infallible>>(&self, sink: W) {
        if let Err(e) = minicbor::encode(self, sink) {
            unreachable!("the sink takes every write, and no type of the state refuses to be encoded: {e}")
        }
    }

    /// Frees a copy of the state, which may be all that is left of what has changed since; asks for a `rest` after every piece.
    pub fn free_with_rests(self, mut rest: impl FnMut()) {
        self.resources.free_with_rests(&mut rest);
        self.permits.free_with_rests(&mut rest);
        self.request_ids.free_with_rests(&mut rest);
    }

    /// The state from a snapshot.
    pub fn decode(bytes: &[u8]) -> Result<Limiter, Corrupt> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let mut limiter: Limiter = decoder.decode().map_err(|e| Corrupt(e.to_string()))?;
        if decoder.position() != bytes.len() {
            return Err(Corrupt(format!("{} bytes too many", bytes.len() - decoder.position())));
        }
        if let Some(state) = limiter.resources.iter().find(|state| !state.is_consistent()) {
            let name = &state.definition.name;
            return Err(Corrupt(format!("the counters of {name} are not those of its limits")));
        }
        limiter.result_ends = limiter.collect_result_ends();
        limiter.counter_bytes = limiter.count_counter_bytes();
        limiter.permits.sort_out();
        Ok(limiter)
    }

    fn carry_out(&mut self, command: &Command) -> Answer {
        match command {
            Command::Acquire(acquire) => self.acquire(acquire, acquire.choices()),
            Command::AcquireFrom { acquire, alternative } => {
                self.acquire(acquire, *alternative..=*alternative)
            }
            Command::Renew(renew) => self.renew(renew),
            Command::Release(release) => self.release(release),
            Command::CreateResource(resource) => self.create_resource(resource),
            Command::UpdateResource(update) => self.update_resource(update),
            Command::DeleteResource(delete) => self.delete_resource(delete),
            Command::GiveBack(permit) => self.give_back(*permit),
            Command::PauseResource(order) => self.pause(order),
            Command::ResumeResource(order) => self.resume(order),
            Command::SetKeyState(order) => self.set_key_state(order),
            Command::HoldBack(report) => self.hold_back(report),
            Command::InvalidateResults(order) => self.invalidate_results(order),
            Command::Report(report) => self.report(report),
        }
    }

    fn note_turns(&mut self, turns: impl IntoIterator<Item = CircuitTurn>) {
        for turn in turns {
            self.circuits_opened += u64::from(turn.circuit.state == CircuitState::Open);
            self.turns.0.push(turn);
        }
    }

    /// Whether a permit of that id was ever granted.
    fn was_granted(&self, permit: PermitId) -> bool {
        (1..=self.permits_granted).contains(&permit.0)
    }
}

/// What the command asks a permit of.
fn asked_for(command: &Command) -> Option<&ResourceName> {
    match command {
        Command::Acquire(acquire) | Command::AcquireFrom { acquire, alternative: 0 } => {
            Some(&acquire.resource)
        }
        _ => None,
    }
}
