//! Does what the replica wants done, and keeps the metrics of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{mpsc::UnboundedSender, watch};
use tollgate_limiter::PermitId;

use crate::{metrics::Metrics, storage::snapshot_file::SnapshotFiles};

use super::{
    super::{
        call::{Refusal, Reply},
        door::Status,
        fatal::Fatal,
        log_writer::Stored,
        machine::Machine,
        members::NodeId,
        peers::Peers,
        replica::{Effect, Replica},
        replies::Caller,
    },
    Batches,
    counts::Counts,
    news,
    planner::Planner,
    snapshot,
};

/// Everything that effects act on.
pub(super) struct Effects {
    pub metrics: Metrics,
    counts: Counts,
    id: NodeId,
    peers: Arc<dyn Peers>,
    batches: Batches,
    snapshots: SnapshotFiles,
    reports: UnboundedSender<Stored>,
    planner: Planner,
    snapshot_is_late: Arc<AtomicBool>,
    leases_expired: u64,
    circuits_opened: u64,
}

impl Effects {
    pub fn new(
        id: NodeId,
        peers: Arc<dyn Peers>,
        batches: Batches,
        snapshots: SnapshotFiles,
        reports: UnboundedSender<Stored>,
        planner: Planner,
        metrics: Metrics,
    ) -> Effects {
        Effects {
            counts: Counts::new(metrics.clone()),
            metrics,
            id,
            peers,
            batches,
            snapshots,
            reports,
            planner,
            snapshot_is_late: Arc::default(),
            leases_expired: 0,
            circuits_opened: 0,
        }
    }

    /// Does it. Grants that reach nobody are added to `undelivered`. Returns whether the replica has ended.
    pub fn perform(
        &mut self,
        effect: Effect<Caller>,
        undelivered: &mut Vec<PermitId>,
    ) -> Result<bool, Fatal> {
        match effect {
            Effect::Send(message) => self.peers.send(message),
            Effect::SendSnapshot { message, index } => {
                self.peers.send_snapshot(message, self.snapshots.path(index));
            }
            Effect::Write(batch) => self.batches.send(batch).map_err(|_| Fatal::LogWriterGone)?,
            Effect::TakeSnapshot(machine) => self.take_snapshot(*machine)?,
            Effect::Plan { planning, caller } => self.planner.plan(planning, caller),
            Effect::Reply { caller, result, about } => {
                match &result {
                    Ok(Reply::Answer { answer, waited }) => self.counts.count(answer, *waited, &about),
                    Err(Refusal::QueueFull { .. }) => self.counts.count_queue_full(&about),
                    _ => {}
                }
                if let Some(Ok(reply)) = caller.send(result)
                    && let Some(permit) = reply.permit_to_give_back()
                {
                    self.metrics.grants_undelivered.inc();
                    undelivered.push(permit);
                }
            }
            Effect::GaveUp { after } => self.counts.observe_wait("cancelled", after),
            Effect::Committed { commands, after } => {
                self.metrics.commands_per_entry.observe(commands as f64);
                self.metrics.commit_seconds.observe(after.as_nanos() as f64 / 1e9);
            }
            Effect::ResourceGone(resource) => self.counts.forget(&resource),
            Effect::StateReplaced => self.counts.forget_all(),
            Effect::CircuitTurned(turn) => news::tell_turn(&turn),
            Effect::Beat { index, digest, disk_is_low } => self.peers.beat(index, digest, disk_is_low),
            Effect::Members(members) => self.peers.update(self.id, members),
            Effect::Stopped => return Ok(true),
        }
        Ok(false)
    }

    /// Publishes what others act on, as soon as it changes.
    pub fn publish_changes(&self, replica: &Replica<Caller>, to: &watch::Sender<Status>) {
        let status = replica.status();
        to.send_if_modified(|published| {
            let is_new = published.leader != status.leader
                || published.term != status.term
                || published.members != status.members
                || published.disk_is_low != status.disk_is_low
                || published.id != status.id;
            if is_new {
                news::tell(published, &status);
                *published = status;
            }
            is_new
        });
    }

    /// Publishes how far the log is. Once a tick: waking everybody at each entry would cost more than the entry.
    pub fn publish_progress(&mut self, replica: &Replica<Caller>, to: &watch::Sender<Status>) {
        let status = replica.status();
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let totals = replica.machine().limiter().totals();
        self.metrics.term.set(gauge(status.term));
        self.metrics.is_leader.set(i64::from(status.leader == Some(status.id)));
        self.metrics.leader_id.set(gauge(status.leader.unwrap_or_default()));
        self.metrics.commit_index.set(gauge(status.commit_index));
        self.metrics.applied_index.set(gauge(status.applied_index));
        self.metrics.snapshot_index.set(gauge(replica.snapshot_index()));
        self.metrics.resources.set(gauge(totals.resources));
        self.metrics.permits_live.set(gauge(totals.permits_live));
        self.metrics.permits_leased.set(gauge(totals.permits_leased));
        self.metrics.results.set(gauge(totals.results));
        self.metrics.result_bytes.set(gauge(totals.result_bytes));
        self.metrics.counter_bytes.set(gauge(totals.counter_bytes));
        self.metrics.disk_is_low.set(i64::from(status.disk_is_low));
        self.counts.set_waiting(replica.queue_lengths());
        self.snapshot_is_late.store(replica.snapshot_is_late(), Ordering::Relaxed);
        let expired = totals.leases_expired.saturating_sub(self.leases_expired);
        let opened = totals.circuits_opened.saturating_sub(self.circuits_opened);
        if replica.is_serving() {
            self.metrics.leases_expired.inc_by(expired);
            self.metrics.circuits_opened.inc_by(opened);
        }
        (self.leases_expired, self.circuits_opened) = (totals.leases_expired, totals.circuits_opened);
        to.send_if_modified(|published| {
            let is_new = *published != status;
            news::tell(published, &status);
            *published = status;
            is_new
        });
    }

    /// Encodes and writes in a thread of its own, while grants go on.
    fn take_snapshot(&self, machine: Machine) -> Result<(), Fatal> {
        let is_late = self.snapshot_is_late.clone();
        let thread = snapshot::take(machine, self.snapshots.clone(), self.reports.clone(), is_late);
        thread.map_err(|source| Fatal::SnapshotWrite { path: "(its thread)".into(), source })
    }
}
