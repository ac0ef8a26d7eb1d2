//! How a command changes the state.

use crate::model::{
    Answer, ClusterTime, Command, Label, PermitId, ResourceName, ResourceUsage, Stamp, StoredResource,
};

/// The state machine. Cloning is cheap (the copies share what neither has changed since), so that a snapshot can be
/// encoded in the background while grants go on.
#[derive(Clone, Debug, Default)]
pub struct Limiter {}

/// A snapshot that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limiter's snapshot cannot be read: {0}")]
pub struct Corrupt(pub String);

impl Limiter {
    /// Moves time to the stamp, ends what expires by then, and carries out the commands in order. One answer a command
    /// is pushed to `answers`. The same entries in the same order give the same answers, state and digest everywhere.
    pub fn apply(&mut self, stamp: Stamp, commands: &[Command], answers: &mut Vec<Answer>) {
        let _ = (stamp, commands, answers);
        todo!()
    }

    /// What can be answered without the log, because it would change nothing: a denial, or a rejection of an acquire.
    /// `None`: propose it. Never call it for a retry, nor before the leader has applied an entry of its own term.
    pub fn refuse(&self, stamp: Stamp, command: &Command) -> Option<Answer> {
        let _ = (stamp, command);
        todo!()
    }

    /// Gives back a grant that nobody is left to receive: as a release with `NotSent`, as a command for the log.
    pub fn give_back(permit: PermitId) -> Command {
        let _ = permit;
        todo!()
    }

    /// When the next lease runs out: an entry stamped then or later frees it.
    pub fn next_due(&self) -> Option<ClusterTime> {
        todo!()
    }

    /// The stamp of the last entry applied.
    pub fn now(&self) -> Stamp {
        todo!()
    }

    /// Digest of every answer given so far, chained: equal on all nodes at the same entry, or they have diverged.
    pub fn digest(&self) -> u64 {
        todo!()
    }

    /// One resource.
    pub fn resource(&self, name: &ResourceName) -> Option<StoredResource> {
        let _ = name;
        todo!()
    }

    /// Resources by name, after `after`, beginning with `prefix`, at most `max`; and whether others follow.
    pub fn resources(
        &self,
        after: Option<&ResourceName>,
        prefix: &str,
        max: usize,
    ) -> (Vec<StoredResource>, bool) {
        let _ = (after, prefix, max);
        todo!()
    }

    /// Live figures at `stamp`: counters per limit at most `max_scope_values` (least available first), held slots at most
    /// `max_held`.
    pub fn usage(
        &self,
        stamp: Stamp,
        name: &ResourceName,
        scope_value: Option<&Label>,
        max_scope_values: usize,
        max_held: usize,
    ) -> Option<ResourceUsage> {
        let _ = (stamp, name, scope_value, max_scope_values, max_held);
        todo!()
    }

    /// How many resources there are, how many permits are live, how many leases ran out since the beginning.
    pub fn totals(&self) -> Totals {
        todo!()
    }

    /// The whole state, for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// The state from a snapshot.
    pub fn decode(bytes: &[u8]) -> Result<Limiter, Corrupt> {
        let _ = bytes;
        todo!()
    }
}

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Resources defined.
    pub resources: u64,
    /// Permits that hold slots or can still be settled.
    pub permits_live: u64,
    /// Leases that ran out since the beginning.
    pub leases_expired: u64,
}
