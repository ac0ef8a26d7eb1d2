//! The task that carries events to the replica and effects from it: the only async part of replication. It decides
//! nothing.

mod counts;
mod disk;
mod effects;
mod news;
mod planner;
mod snapshot;
mod start;

use std::{sync::mpsc::Sender, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Interval,
};
use tollgate_limiter::Command;

use crate::{
    clock::{self, Reading},
    storage::{WriteBatch, data_dir::DataDir},
};

pub use self::start::start;
use self::{disk::Disk, effects::Effects};
use super::{
    call::Call,
    door::{Inside, Ticket},
    fatal::Fatal,
    log_writer::Stored,
    members::Members,
    replica::{Event, Replica},
    replies::Caller,
};

/// Events of one kind that are taken in before the replica acts on them.
const DRAINED_MAX: usize = 4_096;

/// Ticks between two looks at the free space of the disk.
const DISK_LOOK_TICKS: u64 = 20;

/// How a node begins when its data directory is empty; otherwise it goes on where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// As one of these voters of a new cluster. All of them must be given the same ones.
    Found(Members),
    /// As nobody: it waits until the leader of a cluster, to which it was added, calls.
    Join,
}

/// What a replica is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// How it begins.
    pub beginning: Beginning,
    /// Followers that hear nothing from the leader for so long, or up to twice as long, elect another.
    pub election_timeout: Duration,
    /// Bytes of log after which a snapshot is taken and the log is cut.
    pub snapshot_log_bytes: u64,
    /// Bytes that are kept free on the disk: below, another node is to lead, and while no voter has room, everything that has to be
    /// written is refused.
    pub disk_reserve_bytes: u64,
}

/// A replica that runs.
pub struct Running {
    /// Ends when the replica does: after [`Running::shut_down`] with `Ok`, otherwise with what it could not survive.
    pub task: JoinHandle<Result<(), Fatal>>,
    shutdown: oneshot::Sender<()>,
}

impl Running {
    /// Asks the replica to hand its leadership over, answer what is open, and end. Returns the task to wait for.
    pub fn shut_down(self) -> JoinHandle<Result<(), Fatal>> {
        // If nobody listens, it has ended.
        let _ = self.shutdown.send(());
        self.task
    }
}

/// The state of the task.
struct Driver {
    replica: Replica<Caller>,
    inside: Inside,
    stored: mpsc::UnboundedReceiver<Stored>,
    // None once it was asked, or nobody is left to ask.
    shutdown: Option<oneshot::Receiver<()>>,
    ticker: Interval,
    ticks: u64,
    disk: Disk,
    effects: Effects,
    log_writer: std::thread::JoinHandle<()>,
    // Its lock lasts as long as anything here may write, but for the thread of a snapshot: what that has not finished when the process
    // ends is deleted at the next start.
    data_dir: DataDir,
}

/// What woke the task.
enum Woken {
    Event(Event<Caller>),
    Asked(Ticket),
    Stored(Stored),
    NobodyLeftToAsk,
    /// Somebody's turn may have come, or somebody's patience ended.
    TurnsDue,
}

impl Driver {
    async fn run(mut self) -> Result<(), Fatal> {
        loop {
            match self.next().await {
                Woken::Event(event) => self.handle(event)?,
                Woken::Asked(ticket) => self.take_in(ticket, clock::read())?,
                Woken::Stored(stored) => self.handle_stored(stored)?,
                Woken::NobodyLeftToAsk => self.shutdown = None,
                Woken::TurnsDue => {}
            }
            self.drain()?;
            if self.flush().await? {
                return self.end();
            }
        }
    }

    /// Waits for what comes first; the tick before all else, or a busy node would have no time.
    async fn next(&mut self) -> Woken {
        // Otherwise calls wait outside, where their number is bounded.
        let has_room = self.replica.has_room();
        let wake = self.replica.next_wake();
        tokio::select! {
            biased;
            _ = self.ticker.tick() => Woken::Event(Event::Tick),
            asked = asked(&mut self.shutdown), if self.shutdown.is_some() => asked,
            stored = self.stored.recv() => {
                Woken::Stored(stored.unwrap_or(Stored::Failed(Fatal::LogWriterGone)))
            }
            Some(event) = self.inside.peer_events.recv() => Woken::Event(Event::Peer(event)),
            Some(number) = self.inside.cancelled.recv() => Woken::Event(Event::Cancelled(number)),
            () = clock::sleep_until(wake.unwrap_or_default()), if wake.is_some() => Woken::TurnsDue,
            Some(ticket) = self.inside.calls.recv(), if has_room => Woken::Asked(ticket),
        }
    }

    /// Takes in what else is there already.
    fn drain(&mut self) -> Result<(), Fatal> {
        while let Ok(stored) = self.stored.try_recv() {
            self.handle_stored(stored)?;
        }
        for _ in 0..DRAINED_MAX {
            let Ok(event) = self.inside.peer_events.try_recv() else { break };
            self.handle(Event::Peer(event))?;
        }
        while let Ok(number) = self.inside.cancelled.try_recv() {
            self.handle(Event::Cancelled(number))?;
        }
        // Thousands of calls in a row: they arrived together, as far as anybody could tell.
        let now = clock::read();
        for _ in 0..DRAINED_MAX {
            if !self.replica.has_room() {
                break;
            }
            let Ok(ticket) = self.inside.calls.try_recv() else { break };
            self.take_in(ticket, now)?;
        }
        Ok(())
    }

    fn take_in(&mut self, ticket: Ticket, now: Reading) -> Result<(), Fatal> {
        let Ticket { number, call, reply } = ticket;
        // A caller who is gone asks nothing; but nobody ever waits for a grant to be given back.
        match reply.is_closed() && !is_give_back(&call) {
            true => Ok(()),
            false => self.replica.handle(Event::Call { number, call, caller: reply }, now),
        }
    }

    fn handle(&mut self, event: Event<Caller>) -> Result<(), Fatal> {
        if matches!(event, Event::Tick) {
            self.tick()?;
        }
        self.replica.handle(event, clock::read())
    }

    fn handle_stored(&mut self, stored: Stored) -> Result<(), Fatal> {
        match stored {
            Stored::Log { number, log_bytes } => {
                self.effects.metrics.log_bytes.set(i64::try_from(log_bytes).unwrap_or(i64::MAX));
                self.handle(Event::Persisted(number))
            }
            Stored::Snapshot { index } => self.handle(Event::SnapshotSaved(index)),
            Stored::Failed(fatal) => Err(fatal),
        }
    }

    fn tick(&mut self) -> Result<(), Fatal> {
        self.ticks += 1;
        if self.ticks % DISK_LOOK_TICKS == 1
            && let Some(low) = self.disk.look(self.data_dir.path())
        {
            self.replica.handle(Event::DiskSpace { low }, clock::read())?;
        }
        self.effects.publish_progress(&self.replica, &self.inside.status);
        Ok(())
    }

    /// Lets the replica act, and does what it wants done. Returns whether it has ended.
    async fn flush(&mut self) -> Result<bool, Fatal> {
        let mut is_stopped = false;
        // A grant that reaches nobody makes the replica act again.
        loop {
            let mut undelivered = Vec::new();
            for effect in self.replica.flush(clock::read())? {
                is_stopped |= self.effects.perform(effect, &mut undelivered)?;
            }
            if self.replica.has_committed() {
                // What is sent leaves now: nothing else runs on this thread while entries are applied. Who was answered should not find
                // the leader of before.
                self.effects.publish_changes(&self.replica, &self.inside.status);
                tokio::task::yield_now().await;
            }
            for effect in self.replica.settle(clock::read())? {
                is_stopped |= self.effects.perform(effect, &mut undelivered)?;
            }
            if undelivered.is_empty() {
                break;
            }
            for permit in undelivered {
                self.replica.handle(Event::Undelivered(permit), clock::read())?;
            }
        }
        self.effects.publish_changes(&self.replica, &self.inside.status);
        Ok(is_stopped)
    }

    /// Everything that was written to the log is on the disk when this returns, and the directory is free.
    fn end(self) -> Result<(), Fatal> {
        drop(self.effects);
        self.log_writer.join().map_err(|_| Fatal::LogWriterGone)
    }
}

fn is_give_back(call: &Call) -> bool {
    matches!(call, Call::Command { command: Command::GiveBack(_), .. })
}

async fn asked(shutdown: &mut Option<oneshot::Receiver<()>>) -> Woken {
    let Some(receiver) = shutdown else { return Woken::NobodyLeftToAsk };
    let asked = receiver.await;
    *shutdown = None;
    asked.map_or(Woken::NobodyLeftToAsk, |()| Woken::Event(Event::ShutDown))
}

/// Where batches for the log go.
type Batches = Sender<WriteBatch>;
