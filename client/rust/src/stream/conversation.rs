//! The task behind a stream: sends what is asked, hands out what is answered, and goes on at another node when the stream
//! breaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use backon::BackoffBuilder;
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::v1::{self, Outcome, permit_service_client::PermitServiceClient, stream_answer::Answer};
use tonic::Status;

use super::{is_own, open_call::OpenCall};
use crate::{
    attempt::{Answered, BACKOFF, TRY_TIMEOUT, note},
    client::Client,
    decide::received,
    duration::jitter,
    fault::{Fault, Verdict},
    nodes::Node,
};

/// Calls in one message, as the API bounds them; and cancelled ones.
const CALLS_MAX: usize = 1_000;

/// Bytes of calls in one message, but for the last: far below the 1 MiB that the API takes.
const BYTES_MAX: usize = 256 << 10;

/// What happens to a conversation, besides answers.
pub(super) enum Event {
    /// Somebody wants a permit.
    Ask(u64, Box<OpenCall>),
    /// The pause before another try is over.
    Again(u64),
    /// Nobody waits for it any more.
    Cancel(u64),
}

/// The calls of a stream, and what is to be sent of them.
pub(super) struct Conversation {
    client: Client,
    inbox: mpsc::UnboundedReceiver<Event>,
    later: mpsc::WeakUnboundedSender<Event>,
    /// By id, and so in the order in which they were asked.
    open: BTreeMap<u64, OpenCall>,
    to_send: BTreeSet<u64>,
    to_cancel: Vec<u64>,
}

impl Conversation {
    pub(super) fn new(
        client: Client,
        inbox: mpsc::UnboundedReceiver<Event>,
        later: mpsc::WeakUnboundedSender<Event>,
    ) -> Conversation {
        let (open, to_send, to_cancel) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Conversation { client, inbox, later, open, to_send, to_cancel }
    }

    /// Goes on until nobody is left who could ask.
    pub(super) async fn run(mut self) {
        let mut backoff = BACKOFF.build();
        loop {
            while self.open.is_empty() {
                let Some(event) = self.inbox.recv().await else { return };
                self.take(event);
            }
            let node = self.client.nodes().pick();
            let mut has_answered = false;
            let Err(status) = self.converse(&node, &mut has_answered).await else { return };
            let fault = note(self.client.nodes(), &node, status);
            if has_answered {
                backoff = BACKOFF.build();
            }
            let pause = backoff.next().unwrap_or_default();
            tracing::debug!(?pause, open = self.open.len(), "a stream of permits broke; opening another");
            self.broke(&fault, pause);
            sleep(pause).await;
        }
    }

    /// Talks to a node until the stream breaks; `Ok` when nobody is left who could ask.
    async fn converse(&mut self, node: &Node, has_answered: &mut bool) -> Result<(), Status> {
        let (messages, outgoing) = mpsc::channel(1);
        let mut service = PermitServiceClient::new(node.channel(true));
        let opening = timeout(TRY_TIMEOUT, service.stream_permits(ReceiverStream::new(outgoing)));
        let opened =
            opening.await.unwrap_or_else(|_| Err(Status::deadline_exceeded("the stream was not opened")))?;
        self.client.nodes().learn(opened.metadata());
        let mut answers = opened.into_inner();
        loop {
            let has_something_to_say = !self.to_send.is_empty() || !self.to_cancel.is_empty();
            tokio::select! {
                room = messages.reserve(), if has_something_to_say => {
                    room.map_err(|_| Status::unavailable("the stream broke"))?.send(self.message());
                }
                event = self.inbox.recv() => match event {
                    Some(event) => self.take_all(event),
                    None => return Ok(()),
                },
                message = answers.message() => {
                    let message = message?.ok_or_else(|| Status::unavailable("the node ended the stream"))?;
                    *has_answered = true;
                    message.answers.into_iter().try_for_each(|answer| self.answered(answer))?;
                }
            }
        }
    }

    /// This event and those that are there already, so that they go in one message.
    fn take_all(&mut self, first: Event) {
        self.take(first);
        while let Ok(event) = self.inbox.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Ask(id, call) => {
                self.open.insert(id, *call);
                self.to_send.insert(id);
            }
            Event::Again(id) => {
                // A stream that was opened anew meanwhile has it already.
                if self.open.get(&id).is_some_and(|call| !call.is_sent) {
                    self.to_send.insert(id);
                }
            }
            Event::Cancel(id) => {
                self.to_send.remove(&id);
                if self.open.remove(&id).is_some_and(|call| call.is_sent) {
                    self.to_cancel.push(id);
                }
            }
        }
    }

    /// As much as there is to be sent and fits.
    fn message(&mut self) -> v1::StreamPermitsRequest {
        let (mut calls, mut bytes) = (Vec::new(), 0);
        while calls.len() < CALLS_MAX
            && bytes < BYTES_MAX
            && let Some(id) = self.to_send.pop_first()
        {
            let Some(call) = self.open.get_mut(&id).map(|call| call.next_try(id)) else { continue };
            bytes += call.encoded_len();
            calls.push(call);
        }
        let cancelled = self.to_cancel.drain(..self.to_cancel.len().min(CALLS_MAX)).collect();
        v1::StreamPermitsRequest { calls, cancelled }
    }

    /// Hands an answer to whoever waits for it; an error when this node is of no use to the other calls, either.
    fn answered(&mut self, answer: v1::StreamAnswer) -> Result<(), Status> {
        let Some(mut call) = self.open.remove(&answer.id) else {
            self.give_back_unseen(answer);
            return Ok(());
        };
        let fault = match answer.answer {
            Some(Answer::Acquired(message)) => {
                let answered = Answered { message, asked_at: call.asked_at, repeated: !call.is_certain };
                if let Err(Ok(unread)) = call.reply.send(received(&self.client, answered, &call.keep)) {
                    self.give_back(answer.id, unread.detach());
                }
                return Ok(());
            }
            Some(Answer::Error(error)) => Fault::from(error),
            _ => return Err(Status::internal("the answer does not belong to the call")),
        };
        call.is_sent = false;
        let at_least = match fault.verdict() {
            Verdict::Final => {
                call.fail(fault);
                return Ok(());
            }
            Verdict::Unsent(wait) => wait.unwrap_or_default(),
            Verdict::Unknown => {
                call.is_certain = false;
                Duration::ZERO
            }
        };
        let pause = call.backoff.next().unwrap_or_default().max(at_least + jitter(at_least / 2));
        let is_lost = fault.is_without_leader();
        if Instant::now() + pause >= call.ends_at {
            call.fail(fault);
        } else {
            self.open.insert(answer.id, call);
            self.ask_again(answer.id, pause);
        }
        if is_lost { Err(Status::unavailable("the node knows no leader")) } else { Ok(()) }
    }

    fn ask_again(&self, id: u64, pause: Duration) {
        let later = self.later.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            if let Some(events) = later.upgrade() {
                // If nobody reads it, the conversation has ended.
                let _ = events.send(Event::Again(id));
            }
        });
    }

    /// What was sent may have taken effect. All of it is to be sent again, besides what would come too late; unless it would
    /// end in the same way.
    fn broke(&mut self, fault: &Fault, pause: Duration) {
        self.to_cancel.clear();
        let (again_at, is_final) = (Instant::now() + pause, matches!(fault.verdict(), Verdict::Final));
        for (id, mut call) in std::mem::take(&mut self.open) {
            call.is_certain &= !call.is_sent;
            call.is_sent = false;
            if is_final || again_at >= call.ends_at {
                call.fail(fault.clone());
            } else {
                self.open.insert(id, call);
                self.to_send.insert(id);
            }
        }
    }

    /// An answer came for somebody who had just given up.
    fn give_back_unseen(&self, answer: v1::StreamAnswer) {
        use v1::acquire_permit_response::Decision;
        if let Some(Answer::Acquired(message)) = answer.answer
            && let Some(Decision::Granted(granted)) = message.decision
            && !granted.replayed
        {
            self.give_back(answer.id, granted.permit_id);
        }
    }

    /// Whoever has named a request may have asked for it again, and hold this very permit by now.
    fn give_back(&self, call: u64, permit_id: String) {
        if !is_own(call) {
            return;
        }
        let release = self.client.release(permit_id).outcome(Outcome::NotSent);
        tokio::spawn(async move {
            if let Err(error) = release.await {
                tracing::debug!(%error, "a permit that nobody waited for was not given back");
            }
        });
    }
}
