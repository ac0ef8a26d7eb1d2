//! Takes the notes of all clients, by one clock: the monotonic one of this process.

use std::{mem, ops::AddAssign, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tollgate_limiter::{Outcome, Span};

use crate::history::{Call, ClientId, History, OpId, Reply};

/// How operations ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// All that were asked.
    pub operations: u64,
    /// Permits, without those that were granted before.
    pub grants: u64,
    /// Definite failures: nobody could decide.
    pub not_done: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// By how much the clocks of nodes and clients may differ in rate. They are on one machine; but a guarantee that holds
/// only there is none.
const DRIFT_PPM: u64 = 1_000;

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.operations += other.operations;
        self.grants += other.grants;
        self.not_done += other.not_done;
        self.unknown += other.unknown;
    }
}

/// What clients see, as they see it.
pub struct Recorder {
    began: Instant,
    notes: Mutex<Notes>,
    grants: watch::Sender<LastGrant>,
    surprises: Mutex<Vec<String>>,
}

struct Notes {
    history: History,
    tally: Tally,
}

/// The grant that was asked for last, of those that were answered.
#[derive(Clone, Copy, Debug, Default)]
struct LastGrant {
    invoked_at: Span,
    replied_at: Span,
}

/// An operation whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub struct Invoked {
    op: OpId,
    /// When it was asked.
    pub at: Span,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            began: Instant::now(),
            notes: Mutex::new(Notes { history: History::new(DRIFT_PPM), tally: Tally::default() }),
            grants: watch::Sender::default(),
            surprises: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Since the beginning.
    pub fn now(&self) -> Span {
        Span(u64::try_from(self.began.elapsed().as_nanos()).expect("no run takes 584 years"))
    }

    /// A client asks.
    pub fn invoke(&self, client: ClientId, call: Call) -> Invoked {
        let mut notes = self.notes.lock();
        // Read with the lock held, so that times do not go backwards in the history.
        let at = self.now();
        notes.tally.operations += 1;
        Invoked { op: notes.history.invoke(at, client, call), at }
    }

    /// A client is answered.
    pub fn reply(&self, invoked: Invoked, reply: Reply) {
        let is_grant = matches!(&reply, Reply::Answer(Ok(Outcome::Granted(grant))) if !grant.replayed);
        let replied_at = {
            let mut notes = self.notes.lock();
            let at = self.now();
            notes.tally.grants += u64::from(is_grant);
            notes.tally.not_done += u64::from(reply == Reply::NotDone);
            notes.tally.unknown += u64::from(reply == Reply::Unknown);
            notes.history.reply(at, invoked.op, reply);
            at
        };
        self.grants.send_if_modified(|last| {
            let is_later = is_grant && invoked.at > last.invoked_at;
            if is_later {
                *last = LastGrant { invoked_at: invoked.at, replied_at };
            }
            is_later
        });
    }

    /// Something that no node may ever answer.
    pub fn surprise(&self, what: String) {
        self.surprises.lock().push(what);
    }

    /// How long it took from this moment on until a permit was granted that was asked for after it.
    pub async fn recovery_since(&self, since: Span) -> Duration {
        let mut grants = self.grants.subscribe();
        let granted = grants.wait_for(|grant| grant.invoked_at > since).await;
        let granted = *granted.expect("this has the sender");
        Duration::from_nanos(granted.replied_at.0.saturating_sub(since.0))
    }

    /// How operations ended so far.
    pub fn tally(&self) -> Tally {
        self.notes.lock().tally
    }

    /// The notes, and what was surprising; none of it is here any more.
    pub fn take(&self) -> (History, Vec<String>) {
        let history = mem::replace(&mut self.notes.lock().history, History::new(DRIFT_PPM));
        (history, mem::take(&mut self.surprises.lock()))
    }
}
