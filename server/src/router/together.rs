//! Calls that are asked together. The first try is one for all of them; what it does not answer goes on by itself.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    Stream, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use tokio::time::Sleep;

use super::{
    LEADERLESS_PATIENCE, Router,
    errand::{Errand, random_id},
};
use crate::{
    clock::Deadline,
    raft::{
        call::{Call, Refusal},
        members::NodeId,
        replies::{Answered, Canceller, Replies},
    },
};

/// The answers to calls that were asked together, each with the place of its call among them: those that are decided at the
/// same time at the same time. It ends when all are answered or cancelled.
pub struct Together {
    router: Router,
    /// Who was asked first; 0 if nobody was.
    leader: NodeId,
    /// Those that the first try has not answered yet, for another one.
    open: Vec<Option<Open>>,
    patience: Deadline,
    replies: Replies,
    // For the first of the open ones whose time is over; none until somebody waits.
    due: Option<Pin<Box<Sleep>>>,
    again: FuturesUnordered<Abortable<BoxFuture<'static, (usize, Answered)>>>,
}

struct Open {
    call: Call,
    timeout: Duration,
    deadline: Deadline,
}

impl Together {
    pub(super) fn begin(router: Router, mut calls: Vec<(Call, Duration)>) -> Together {
        calls.iter_mut().for_each(|(call, _)| call.name_if_waiting(random_id));
        let first_try: Vec<_> = calls.iter().map(|(call, _)| call.clone()).collect();
        let leader = router.known_leader();
        let replies = match leader {
            Some(leader) => router.ask(leader, first_try),
            None => Replies::refused(calls.len(), &Refusal::NoLeader),
        };
        let timeouts: Vec<_> = calls.iter().map(|(_, timeout)| *timeout).collect();
        let deadlines = Deadline::after_each(timeouts.into_iter());
        let open = calls
            .into_iter()
            .zip(deadlines)
            .map(|((call, timeout), deadline)| Some(Open { call, timeout, deadline }))
            .collect();
        Together {
            router,
            leader: leader.unwrap_or_default(),
            open,
            patience: Deadline::after(LEADERLESS_PATIENCE),
            replies,
            due: None,
            again: FuturesUnordered::new(),
        }
    }

    /// A way to give up one of the calls.
    pub fn canceller(&self, index: usize) -> Canceller {
        self.replies.canceller(index)
    }

    /// Gives up one of the calls. Returns whether it was not answered yet.
    pub fn cancel(&self, index: usize) -> bool {
        self.replies.cancel(index)
    }

    /// What the first try answered; what it did not is tried again.
    fn judge(&mut self, replies: Vec<(usize, Answered)>) -> Vec<(usize, Answered)> {
        if replies.iter().all(|(_, reply)| reply.is_ok()) {
            replies.iter().for_each(|(index, _)| self.open[*index] = None);
            return replies;
        }
        replies
            .into_iter()
            .filter_map(|(index, reply)| Some((index, self.judge_one(index, reply)?)))
            .collect()
    }

    fn judge_one(&mut self, index: usize, reply: Answered) -> Option<Answered> {
        // One that was answered is not open any more: no call has two replies.
        let Open { call, timeout, deadline } = self.open[index].take()?;
        let mut errand = Errand::under_way(call, timeout, deadline, self.patience.min(deadline));
        let answer = errand.judge(reply, self.leader, self.router.this);
        if answer.is_none() {
            let router = self.router.clone();
            let (handle, registration) = AbortHandle::new_pair();
            self.replies.try_again(index, handle);
            let again = async move { (index, router.run_again(errand).await) };
            self.again.push(Abortable::new(Box::pin(again), registration));
        }
        answer
    }

    /// Those whose time is over, and sets the timer for the others.
    fn expire(&mut self) -> Vec<(usize, Answered)> {
        let mut expired = Vec::new();
        for (index, open) in self.open.iter_mut().enumerate() {
            if open.take_if(|open| open.deadline.has_passed()).is_some() && self.replies.cancel(index) {
                expired.push((index, Err(Refusal::DeadlineExceeded)));
            }
        }
        let next = self.open.iter().flatten().map(|open| open.deadline).min();
        self.due = next.map(|deadline| Box::pin(deadline.passing()));
        expired
    }

    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<Vec<(usize, Answered)>> {
        loop {
            if let Some(due) = &mut self.due
                && due.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            let expired = self.expire();
            if !expired.is_empty() {
                return Poll::Ready(expired);
            }
            if self.due.is_none() {
                return Poll::Pending;
            }
        }
    }

    fn poll_again(&mut self, context: &mut Context<'_>) -> Vec<(usize, Answered)> {
        let mut answers = Vec::new();
        while let Poll::Ready(Some(answer)) = self.again.poll_next_unpin(context) {
            // Those that were given up answer nothing.
            answers.extend(answer);
        }
        answers
    }
}

impl Stream for Together {
    type Item = Vec<(usize, Answered)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let is_first_try_over = loop {
            match self.replies.poll_next_unpin(context) {
                Poll::Ready(Some(replies)) => {
                    let answers = self.judge(replies);
                    if !answers.is_empty() {
                        return Poll::Ready(Some(answers));
                    }
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        let answers = self.poll_again(context);
        if !answers.is_empty() {
            return Poll::Ready(Some(answers));
        }
        if is_first_try_over {
            return if self.again.is_empty() { Poll::Ready(None) } else { Poll::Pending };
        }
        self.poll_due(context).map(Some)
    }
}
