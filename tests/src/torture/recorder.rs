//! Takes the notes of all clients, by one clock: the monotonic one of this process.

use std::{collections::BTreeSet, mem, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tollgate_limiter::{Outcome, Span};

use super::{tally::Tally, way::Way};
use crate::history::{Call, ClientId, History, OpId, Reply};

/// By how much the clocks of nodes and clients may differ in rate. They are on one machine; but a guarantee that holds
/// only there is none.
const DRIFT_PPM: u64 = 1_000;

/// How often answers are looked for that must come.
const POLL: Duration = Duration::from_millis(20);

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
    /// What was not answered yet, by when it was asked.
    open: BTreeSet<(Span, OpId)>,
    /// When that was asked which those who aim at the leader gave up, after all their tries.
    given_up: Vec<Span>,
    drought: Drought,
}

/// How long nothing was granted.
#[derive(Clone, Copy, Debug, Default)]
struct Drought {
    since: Span,
    longest: Span,
}

impl Drought {
    fn ends(&mut self, at: Span) {
        self.longest = self.longest.max(at.saturating_sub(self.since));
        self.since = at;
    }
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
    way: Way,
    /// When it was asked.
    pub at: Span,
}

impl Default for Recorder {
    fn default() -> Recorder {
        let (tally, open, given_up, drought) = Default::default();
        let history = History::new(DRIFT_PPM);
        Recorder {
            began: Instant::now(),
            notes: Mutex::new(Notes { history, tally, open, given_up, drought }),
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

    /// A client asks, in its way.
    pub fn invoke(&self, client: ClientId, way: Way, call: Call) -> Invoked {
        let mut notes = self.notes.lock();
        // Read with the lock held, so that times do not go backwards in the history.
        let at = self.now();
        notes.tally.operations += 1;
        let op = notes.history.invoke(at, client, call);
        notes.open.insert((at, op));
        Invoked { op, way, at }
    }

    /// A client is answered.
    pub fn reply(&self, invoked: Invoked, reply: Reply) {
        let is_grant = matches!(&reply, Reply::Answer(Ok(Outcome::Granted(grant))) if !grant.replayed);
        let replied_at = {
            let mut notes = self.notes.lock();
            let at = self.now();
            notes.open.remove(&(invoked.at, invoked.op));
            if is_grant {
                notes.drought.ends(at);
                notes.tally.count_grant(invoked.way);
            }
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

    /// A client tries no more: the cluster did not decide until the deadline. Of those who know one node only, it may be that
    /// node that was away; of the others it is noted.
    pub fn give_up(&self, invoked: Invoked) {
        if invoked.way.seat.is_none() {
            self.notes.lock().given_up.push(invoked.at);
        }
    }

    /// How much of what was asked in this time was given up so far by clients that aim at the leader.
    pub fn given_up(&self, from: Span, to: Span) -> u64 {
        let notes = self.notes.lock();
        notes.given_up.iter().filter(|asked_at| (from..=to).contains(*asked_at)).count() as u64
    }

    /// Waits until everything that was asked by then is answered.
    pub async fn answered(&self, by: Span) {
        while self.is_open(by) {
            sleep(POLL).await;
        }
    }

    fn is_open(&self, by: Span) -> bool {
        self.notes.lock().open.first().is_some_and(|(asked_at, _)| *asked_at <= by)
    }

    /// From now on, [`longest_drought`](Recorder::longest_drought) is measured.
    pub fn begin_drought(&self) {
        let mut notes = self.notes.lock();
        notes.drought = Drought { since: self.now(), longest: Span::ZERO };
    }

    /// The longest time without a grant, from its beginning or a grant to the next one.
    pub fn longest_drought(&self) -> Duration {
        Duration::from_nanos(self.notes.lock().drought.longest.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::{acquire, granted};

    /// Knows one node.
    const THROUGH_ONE: Way = Way { seat: Some(1), streams: true };

    fn ask(recorder: &Recorder, way: Way) -> Invoked {
        recorder.invoke(1, way, Call::new(acquire("a")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_drought_lasts_from_one_grant_to_the_next() {
        let recorder = Recorder::default();
        sleep(Duration::from_secs(9)).await;
        recorder.begin_drought();
        for pause_ms in [20, 90, 30] {
            sleep(Duration::from_millis(pause_ms)).await;
            recorder.reply(ask(&recorder, Way::default()), Reply::Answer(granted(1)));
            recorder.reply(ask(&recorder, Way::default()), Reply::NotDone);
        }
        let longest = recorder.longest_drought();
        assert!((90..100).contains(&longest.as_millis()), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_aims_at_the_leader_blames_the_cluster() {
        let recorder = Recorder::default();
        let from = recorder.now();
        recorder.give_up(ask(&recorder, THROUGH_ONE));
        recorder.give_up(ask(&recorder, Way::default()));
        let to = recorder.now();
        sleep(Duration::from_secs(1)).await;
        recorder.give_up(ask(&recorder, Way::default()));
        assert_eq!(recorder.given_up(from, to), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_later_is_not_waited_for() {
        let recorder = Recorder::default();
        let first = ask(&recorder, Way::default());
        let by = recorder.now();
        sleep(Duration::from_secs(1)).await;
        ask(&recorder, Way::default());
        assert!(recorder.is_open(by));
        recorder.reply(first, Reply::Unknown);
        recorder.answered(by).await;
    }

    #[test]
    fn grants_are_counted_by_their_way() {
        let recorder = Recorder::default();
        recorder.reply(ask(&recorder, Way::default()), Reply::Answer(granted(1)));
        recorder.reply(ask(&recorder, THROUGH_ONE), Reply::Answer(granted(2)));
        let tally = recorder.tally();
        assert_eq!((tally.grants, tally.streamed, tally.through), (2, 1, [0, 1, 0]));
    }
}
