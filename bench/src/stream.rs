//! Operations over two-way streams, one stream on each connection.
//!
//! A fixed number of operations is open. Each is a cycle of calls (acquire; or acquire, renewals, release), and what an answer
//! leads to is sent with the next full message. So a message always carries as many calls as was asked for, whatever the
//! node makes of its answers.

use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tollgate_proto::v1::{
    ReleasePermitRequest, RenewPermitRequest, StreamAnswer, StreamCall, StreamPermitsRequest,
    stream_answer::Answer, stream_call::Call,
};

use crate::{
    calls::{Connection, granted, problem, problem_of_call},
    plan::{Cycle, Stream},
    requests::Requests,
    tally::{Outcome, Tally},
};

/// Loads one connection until `end`, with so many messages' calls open at once. Returns when all are answered.
pub async fn load(
    stream: Stream,
    messages: usize,
    requests: &Requests,
    connection: &Connection,
    end: Instant,
) -> Tally {
    let (calls, outgoing) = mpsc::unbounded_channel();
    let mut conversation = Conversation {
        stream,
        requests,
        end,
        cycles: Vec::new(),
        pending: Vec::new(),
        outstanding: 0,
        calls,
        tally: Tally::default(),
    };
    conversation.begin(messages * stream.per_message);
    let answers = connection.clone().stream_permits(UnboundedReceiverStream::new(outgoing)).await;
    let mut answers = match answers {
        Ok(answers) => answers.into_inner(),
        Err(status) => return conversation.broken(problem(&status)),
    };
    while conversation.outstanding > 0 {
        match answers.message().await {
            Ok(Some(message)) => conversation.take_in(message.answers),
            Ok(None) => return conversation.broken("the stream ended early".to_owned()),
            Err(status) => return conversation.broken(problem(&status)),
        }
    }
    conversation.tally
}

struct Conversation<'a> {
    stream: Stream,
    requests: &'a Requests,
    end: Instant,
    /// By the ids of their calls: a cycle has one call open at a time.
    cycles: Vec<Open>,
    pending: Vec<StreamCall>,
    /// Calls that were sent and not answered.
    outstanding: usize,
    calls: mpsc::UnboundedSender<StreamPermitsRequest>,
    tally: Tally,
}

/// One operation.
struct Open {
    began: Instant,
    permit_id: String,
    renewals_left: u32,
}

impl Conversation<'_> {
    fn begin(&mut self, cycles: usize) {
        let now = Instant::now();
        for id in 0..cycles {
            self.cycles.push(Open { began: now, permit_id: String::new(), renewals_left: 0 });
            self.start(id, now);
        }
        self.send(now);
    }

    fn take_in(&mut self, answers: Vec<StreamAnswer>) {
        let now = Instant::now();
        self.outstanding = self.outstanding.saturating_sub(answers.len());
        for StreamAnswer { id, answer } in answers {
            let is_known = usize::try_from(id).ok().filter(|id| *id < self.cycles.len());
            let Some(id) = is_known else {
                self.tally.add_error(format!("an answer to call {id}, which was never made"));
                continue;
            };
            let next = match (self.stream.cycle, answer) {
                (Cycle::Acquire, Some(Answer::Acquired(response))) => granted(response).map(|_| None),
                (Cycle::Lease { renewals }, Some(Answer::Acquired(response))) => {
                    granted(response).map(|permit| Some(self.hold(id, permit.permit_id, renewals)))
                }
                (Cycle::Lease { .. }, Some(Answer::Renewed(_))) => Ok(Some(self.go_on(id))),
                (Cycle::Lease { .. }, Some(Answer::Released(_))) => Ok(None),
                (_, Some(Answer::Error(error))) => Err(problem_of_call(&error)),
                (_, other) => Err(format!("an answer to another question: {other:?}")),
            };
            match next {
                Ok(Some(call)) => {
                    self.pending.push(StreamCall { id: id as u64, call: Some(call), timeout: None })
                }
                Ok(None) => self.finish(id, now, Ok(())),
                Err(problem) => self.finish(id, now, Err(problem)),
            }
        }
        self.send(now);
    }

    fn start(&mut self, id: usize, now: Instant) {
        self.cycles[id].began = now;
        let call = Call::Acquire(self.requests.next());
        self.pending.push(StreamCall { id: id as u64, call: Some(call), timeout: None });
    }

    fn hold(&mut self, id: usize, permit_id: String, renewals: u32) -> Call {
        let cycle = &mut self.cycles[id];
        (cycle.permit_id, cycle.renewals_left) = (permit_id, renewals);
        self.go_on(id)
    }

    /// What comes next for a slot that is held.
    fn go_on(&mut self, id: usize) -> Call {
        let cycle = &mut self.cycles[id];
        match cycle.renewals_left.checked_sub(1) {
            Some(left) => {
                cycle.renewals_left = left;
                Call::Renew(RenewPermitRequest { permit_id: cycle.permit_id.clone(), lease: None })
            }
            None => {
                let permit_id = std::mem::take(&mut cycle.permit_id);
                Call::Release(ReleasePermitRequest { permit_id, ..ReleasePermitRequest::default() })
            }
        }
    }

    fn finish(&mut self, id: usize, now: Instant, result: Result<(), String>) {
        let outcome = Outcome { answered: now, ..Outcome::one(result) };
        self.tally.add(self.cycles[id].began, self.end, outcome);
        if now < self.end {
            self.start(id, now);
        }
    }

    /// Sends full messages, and what is left when no answer would come to fill another.
    fn send(&mut self, now: Instant) {
        let size = self.stream.per_message;
        while self.pending.len() >= size
            || (!self.pending.is_empty() && (self.outstanding == 0 || now >= self.end))
        {
            let calls: Vec<_> = self.pending.drain(..size.min(self.pending.len())).collect();
            self.outstanding += calls.len();
            // Where nobody takes it, the stream has ended, and its answers say why.
            let _ = self.calls.send(StreamPermitsRequest { calls, cancelled: vec![] });
        }
    }

    fn broken(mut self, problem: String) -> Tally {
        self.tally.add_error(problem);
        self.tally
    }
}
