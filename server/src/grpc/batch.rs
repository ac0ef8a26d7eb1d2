//! Calls that came in one message and go to whoever leads in one piece. None of them has a task, a future, a timer or a
//! channel of its own: with hundreds in a message, those cost more than the decisions.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tollgate_limiter::Span;
use tollgate_proto::v1::{self, stream_answer::Answer, stream_call};

use super::{
    answer::patience,
    convert::{
        Invalid, acquire,
        decision::{self, Asked},
        feedback::Receipt,
        permit,
    },
    permit::acquired,
    status::Failure,
};
use crate::{
    clock,
    node::Node,
    raft::{
        call::Call,
        replies::{Answered, Canceller},
    },
    router,
};

/// A call that was read and makes sense.
pub struct Read {
    question: Question,
    call: Call,
    timeout: Duration,
}

/// What of a call its answer needs.
enum Question {
    Acquire { asked: Asked, may_wait: bool },
    Renew { permit_id: String },
    Release { permit_id: String },
}

impl Read {
    /// Reads a call of a stream.
    pub fn call(call: Option<stream_call::Call>, timeout: Duration) -> Result<Read, Failure> {
        match call {
            Some(stream_call::Call::Acquire(request)) => Read::acquire(request, timeout),
            Some(stream_call::Call::Renew(request)) => {
                let call = permit::renew(&request)?;
                Ok(Read { question: Question::Renew { permit_id: request.permit_id }, call, timeout })
            }
            Some(stream_call::Call::Release(request)) => {
                let permit_id = request.permit_id.clone();
                // One with feedback goes alone.
                let (call, _) = permit::release(request, &Receipt::default())?;
                Ok(Read { question: Question::Release { permit_id }, call, timeout })
            }
            None => Err(Invalid::field("call", "is required: one of acquire, renew or release").into()),
        }
    }

    /// Reads a request for a permit.
    pub fn acquire(request: v1::AcquirePermitRequest, timeout: Duration) -> Result<Read, Failure> {
        let (asked, call) = acquire::call(request, patience(timeout))?;
        let may_wait = call.wait().is_some();
        Ok(Read { question: Question::Acquire { asked, may_wait }, call, timeout })
    }

    /// Whether it may wait for its turn.
    pub fn may_wait(&self) -> bool {
        self.call.wait().is_some()
    }
}

impl Question {
    fn answer(&self, node: &Node, reply: Answered, after: Span) -> Result<Answer, Failure> {
        match self {
            Question::Acquire { asked, .. } => acquired(node, asked, reply, after).map(Answer::Acquired),
            Question::Renew { permit_id } => {
                decision::renewed(reply).map(Answer::Renewed).map_err(|failure| failure.naming(permit_id))
            }
            Question::Release { permit_id } => {
                decision::released(reply).map(Answer::Released).map_err(|failure| failure.naming(permit_id))
            }
        }
    }

    fn may_wait(&self) -> bool {
        matches!(self, Question::Acquire { may_wait: true, .. })
    }
}

/// An answer to one call of a batch.
pub struct BatchAnswer {
    /// What the call is known by.
    pub id: u64,
    /// Whether it might have waited for its turn.
    pub may_wait: bool,
    /// What became of it.
    pub answer: Result<Answer, Failure>,
}

/// The answers to calls that were asked together, as they are decided. Dropping it cancels what is open.
pub struct Batch {
    node: Arc<Node>,
    arrived: Span,
    // None once it is answered.
    questions: Vec<Option<(u64, Question)>>,
    replies: router::Together,
    // Those who wait do not keep a node from stopping.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Batch {
    /// Asks, in this order. Each call has an id, by which its answer is known.
    pub fn ask(node: &Arc<Node>, calls: Vec<(u64, Read)>) -> Batch {
        let mut questions = Vec::with_capacity(calls.len());
        let mut asked = Vec::with_capacity(calls.len());
        let mut may_wait = false;
        for (id, Read { question, call, timeout }) in calls {
            may_wait |= question.may_wait();
            questions.push(Some((id, question)));
            asked.push((call, timeout));
        }
        Batch {
            node: node.clone(),
            arrived: clock::monotonic(),
            questions,
            replies: node.router.call_together(asked),
            stopping: may_wait.then(|| Box::pin(node.stopping.clone().cancelled_owned())),
        }
    }

    /// A way to give up one of the calls, by its place.
    pub fn canceller(&self, index: usize) -> Canceller {
        self.replies.canceller(index)
    }

    fn answer(&mut self, replies: Vec<(usize, Answered)>) -> Vec<BatchAnswer> {
        let after = Span(clock::monotonic().0.saturating_sub(self.arrived.0));
        let answer = |(index, reply): (usize, Answered)| {
            // No call is answered twice.
            let (id, question) = self.questions[index].take()?;
            let answer = question.answer(&self.node, reply, after);
            Some(BatchAnswer { id, may_wait: question.may_wait(), answer })
        };
        let mut answers = Vec::with_capacity(replies.len());
        answers.extend(replies.into_iter().filter_map(answer));
        answers
    }

    fn give_up_those_who_wait(&mut self) -> Vec<BatchAnswer> {
        let given_up = |(index, slot): (usize, &mut Option<(u64, Question)>)| {
            let (id, question) = slot.take_if(|(_, question)| question.may_wait())?;
            let Question::Acquire { asked, .. } = question else { return None };
            // One that its client gave up is not answered.
            let was_open = self.replies.cancel(index);
            was_open.then(|| BatchAnswer { id, may_wait: true, answer: Err(asked.given_up().into()) })
        };
        self.questions.iter_mut().enumerate().filter_map(given_up).collect()
    }
}

impl Stream for Batch {
    type Item = Vec<BatchAnswer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let replies = self.replies.poll_next_unpin(context);
        if let Poll::Ready(replies) = replies {
            return Poll::Ready(replies.map(|replies| self.answer(replies)));
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            self.stopping = None;
            let given_up = self.give_up_those_who_wait();
            if !given_up.is_empty() {
                return Poll::Ready(Some(given_up));
            }
        }
        Poll::Pending
    }
}
