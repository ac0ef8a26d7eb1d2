//! Replies to calls that were asked together. They come back as they are decided, to one place that one task looks at:
//! whoever asks a hundred things is woken once, and no call needs a channel of its own. A call that is asked alone is one of
//! one.
//!
//! Every call ends in exactly one way: its reply is taken, or nobody waits for it any more. Then whoever was asked is told,
//! and what was granted all the same is given back.

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::{Stream, future::AbortHandle};
use parking_lot::Mutex;
use tollgate_limiter::PermitId;

use super::call::{CallNumber, Refusal, Reply};

/// What became of a call.
pub type Answered = Result<Reply, Refusal>;

/// Replies for which room is made at once.
const ROOM: usize = 128;

/// Whoever was asked, and is told of those who went away.
pub trait Respondent: Send + Sync {
    /// Nobody waits for the reply to this call any more.
    fn cancel(&self, number: CallNumber);

    /// This permit was granted to somebody who had gone.
    fn give_back(&self, permit: PermitId);
}

/// Where the reply to one call goes. Dropped without one, it says that the outcome is unknown.
#[derive(Debug)]
pub struct Caller {
    // None: nobody waits.
    sheet: Option<Arc<Sheet>>,
    index: usize,
}

/// A [`Caller`] for each call.
pub struct Callers {
    sheet: Arc<Sheet>,
    places: Range<usize>,
}

/// The replies to calls that were asked together, each with the place of its call among them. Dropping them cancels what is
/// still open.
pub struct Replies {
    sheet: Arc<Sheet>,
}

/// Gives up one call of several.
pub struct Canceller {
    sheet: Arc<Sheet>,
    index: usize,
}

/// What callers write on, and one reads.
struct Sheet {
    respondent: Arc<dyn Respondent>,
    // The first call's; the others' follow.
    number: CallNumber,
    written: Mutex<Written>,
}

struct Written {
    calls: Vec<State>,
    /// How many calls are [`State::Open`].
    open: usize,
    /// Not taken yet.
    replies: Vec<(usize, Answered)>,
    reader: Option<Waker>,
}

enum State {
    Open {
        /// Whether the respondent wants to know if nobody waits any more.
        tells: bool,
    },
    /// Whoever took the reply tries again.
    TriedAgain(AbortHandle),
    Ended,
}

/// A place for the replies to calls with the numbers from `number` on, one for each of `tells`: whether the respondent is to
/// be told if nobody waits for it any more.
pub fn replies(
    respondent: Arc<dyn Respondent>,
    number: CallNumber,
    tells: impl Iterator<Item = bool>,
) -> (Replies, Callers) {
    let calls: Vec<_> = tells.map(|tells| State::Open { tells }).collect();
    let open = calls.len();
    let written = Written { calls, open, replies: Vec::new(), reader: None };
    let sheet = Arc::new(Sheet { respondent, number, written: Mutex::new(written) });
    let replies = Replies { sheet: sheet.clone() };
    (replies, Callers { sheet, places: 0..open })
}

impl Iterator for Callers {
    type Item = Caller;

    fn next(&mut self) -> Option<Caller> {
        let index = self.places.next()?;
        Some(Caller { sheet: Some(self.sheet.clone()), index })
    }
}

impl Caller {
    /// For what nobody waits for.
    pub fn nobody() -> Caller {
        Caller { sheet: None, index: 0 }
    }

    /// Whether nobody waits any more.
    pub fn is_closed(&self) -> bool {
        self.sheet.as_ref().is_none_or(|sheet| !sheet.written.lock().is_open(self.index))
    }

    /// Replies. If nobody waits any more, the reply is returned.
    #[must_use]
    pub fn send(mut self, answered: Answered) -> Option<Answered> {
        match self.sheet.take() {
            Some(sheet) => sheet.write(self.index, answered),
            None => Some(answered),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(sheet) = self.sheet.take() {
            // Whoever went away need not know.
            let _ = sheet.write(self.index, Err(Refusal::OutcomeUnknown));
        }
    }
}

impl Replies {
    /// The same refusal for so many calls, none of which was asked.
    pub fn refused(count: usize, refusal: &Refusal) -> Replies {
        let (replies, callers) = replies(Arc::new(Nobody), 0, std::iter::repeat_n(false, count));
        for caller in callers {
            let undelivered = caller.send(Err(refusal.clone()));
            debug_assert!(undelivered.is_none(), "the replies are held here");
        }
        replies
    }

    /// The reply to the only call.
    pub async fn only(mut self) -> Answered {
        let replies = std::future::poll_fn(|context| Pin::new(&mut self).poll_next(context)).await;
        // One call has one reply, unless its respondent went away without a word.
        replies.and_then(|mut replies| replies.pop()).map_or(Err(Refusal::OutcomeUnknown), |(_, reply)| reply)
    }

    /// A way to give up one of the calls.
    pub fn canceller(&self, index: usize) -> Canceller {
        Canceller { sheet: self.sheet.clone(), index }
    }

    /// Gives up one of the calls. Returns whether it was open.
    pub fn cancel(&self, index: usize) -> bool {
        self.sheet.cancel(index)
    }

    /// A call whose reply was taken is tried again: giving it up aborts this.
    pub fn try_again(&self, index: usize, again: AbortHandle) {
        self.sheet.written.lock().calls[index] = State::TriedAgain(again);
    }
}

impl Stream for Replies {
    type Item = Vec<(usize, Answered)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut written = self.sheet.written.lock();
        if !written.replies.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut written.replies)));
        }
        if written.open == 0 {
            return Poll::Ready(None);
        }
        written.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        let (calls, replies) = {
            let mut written = self.sheet.written.lock();
            written.open = 0;
            written.reader = None;
            (std::mem::take(&mut written.calls), std::mem::take(&mut written.replies))
        };
        // Those that are tried again end with whoever tries.
        for (number, call) in (self.sheet.number..).zip(calls) {
            if let State::Open { tells: true } = call {
                self.sheet.respondent.cancel(number);
            }
        }
        replies.iter().for_each(|(_, reply)| self.sheet.give_back(reply));
    }
}

impl Canceller {
    /// Gives the call up, if it is open. A reply that was not taken yet is given back.
    pub fn cancel(self) {
        self.sheet.cancel(self.index);
    }
}

impl Sheet {
    fn write(&self, index: usize, answered: Answered) -> Option<Answered> {
        let mut written = self.written.lock();
        if !written.end(index) {
            return Some(answered);
        }
        if written.replies.is_empty() {
            let room = (written.open + 1).min(ROOM);
            written.replies.reserve(room);
        }
        written.replies.push((index, answered));
        let reader = written.reader.take();
        drop(written);
        if let Some(reader) = reader {
            reader.wake();
        }
        None
    }

    fn cancel(&self, index: usize) -> bool {
        let mut written = self.written.lock();
        let Some(call) = written.calls.get_mut(index) else { return false };
        if let State::TriedAgain(again) = call {
            again.abort();
            return true;
        }
        let tells = matches!(call, State::Open { tells: true });
        let was_open = written.end(index);
        let untaken = written.replies.iter().position(|(other, _)| *other == index);
        let untaken = untaken.map(|position| written.replies.swap_remove(position));
        // It may have been the last.
        let reader = written.reader.take();
        drop(written);
        if tells {
            self.respondent.cancel(self.number + index as u64);
        }
        if let Some((_, reply)) = &untaken {
            self.give_back(reply);
        }
        if let Some(reader) = reader {
            reader.wake();
        }
        was_open || untaken.is_some()
    }

    fn give_back(&self, undelivered: &Answered) {
        if let Some(permit) = undelivered.as_ref().ok().and_then(Reply::permit_to_give_back) {
            self.respondent.give_back(permit);
        }
    }
}

impl Written {
    fn is_open(&self, index: usize) -> bool {
        matches!(self.calls.get(index), Some(State::Open { .. }))
    }

    /// Whether it was open.
    fn end(&mut self, index: usize) -> bool {
        let is_open = self.is_open(index);
        if is_open {
            self.calls[index] = State::Ended;
            self.open -= 1;
        }
        is_open
    }
}

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sheet").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Who is asked nothing need not be told anything.
struct Nobody;

impl Respondent for Nobody {
    fn cancel(&self, _: CallNumber) {}

    fn give_back(&self, _: PermitId) {}
}

#[cfg(test)]
mod tests;
