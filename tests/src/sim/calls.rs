//! Calls on their way from whoever asks to a node, and answers on their way back. Each may be lost, and each side may be
//! gone before the other knows.

use std::{collections::BTreeMap, fmt};

use tollgate_limiter::Span;
use tollgate_server::raft::{
    call::{Call, CallNumber, Refusal, Reply},
    members::NodeId,
    replica::Event,
};

use crate::history::{self, OpId};

use super::{
    client::{Ask, Token},
    words::{brief, brief_result},
    world::{Planned, World},
};

/// The operator in the history; clients are counted from 1.
const OPERATOR: history::ClientId = 0;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The client at this place, by its own name for the try.
    Client(usize, Token),
    /// The operator.
    Operator,
    /// A node's own transport, which needs no answer.
    Transport,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As in the history.
            Asker::Client(at, _) => write!(f, "client {}", at + 1),
            Asker::Operator => write!(f, "operator"),
            Asker::Transport => write!(f, "transport"),
        }
    }
}

/// Calls that are open on one side at least.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<CallNumber, OpenCall>,
    last: CallNumber,
}

#[derive(Debug)]
struct OpenCall {
    asker: Asker,
    node: NodeId,
    // Taken by the node when it arrives.
    call: Option<Call>,
    // It may be held until its turn comes.
    may_wait: bool,
    op: Option<OpId>,
    is_deaf: bool,
    // The asker waits.
    is_awaited: bool,
    // The node has heard that the asker does not.
    is_cancelled: bool,
    // The node has it, and has not answered.
    is_at_node: bool,
}

impl World {
    /// A client asks.
    pub(super) fn send_ask(&mut self, at: usize, ask: Ask) {
        let client = self.clients[at].number();
        let op = self.history.invoke(self.now, client, ask.call.clone());
        let wait = ask.wait();
        let history::Call { command, attempt, .. } = ask.call;
        let call = Call::Command { command, attempt, wait };
        self.trace.fold(&[self.now.0, 1, client, op, ask.to]);
        self.trace
            .tell(self.now, || format!("client {client} asks node {}: {} (op {op})", ask.to, brief(&call)));
        let number = self.send_call(Asker::Client(at, ask.token), ask.to, call, ask.patience);
        if let Some(open) = self.calls.open.get_mut(&number) {
            open.op = Some(op);
            open.is_deaf = ask.is_deaf;
        }
        if ask.is_cancelled {
            self.coverage.hit("cancelled before the answer");
        }
    }

    /// A call leaves for a node.
    pub(super) fn send_call(&mut self, asker: Asker, node: NodeId, call: Call, patience: Span) -> CallNumber {
        self.calls.last += 1;
        let number = self.calls.last;
        let op = match (asker, &call) {
            (Asker::Operator, Call::Command { command, attempt, .. }) => {
                let call = history::Call { attempt: *attempt, ..history::Call::new(command.clone()) };
                Some(self.history.invoke(self.now, OPERATOR, call))
            }
            _ => None,
        };
        let open = OpenCall {
            asker,
            node,
            may_wait: call.wait().is_some(),
            call: Some(call),
            op,
            is_deaf: false,
            is_awaited: true,
            is_cancelled: false,
            is_at_node: false,
        };
        self.calls.open.insert(number, open);
        let arrives_at = self.now + self.client_way();
        self.agenda.plan(arrives_at, Planned::Ask(number));
        self.agenda.plan(self.now + patience, Planned::GiveUp(number));
        number
    }

    /// A call arrives at its node.
    pub(super) fn take_in(&mut self, number: CallNumber) {
        let Some(open) = self.calls.open.get_mut(&number) else { return };
        let (Some(call), node, op) = (open.call.take(), open.node, open.op) else { return };
        if open.is_cancelled {
            self.calls.open.remove(&number);
            return;
        }
        if self.nodes.get(&node).is_none_or(|node| node.running.is_none()) {
            // Nobody listens there.
            return self.send_answer(number, Err(Refusal::NoLeader));
        }
        open.is_at_node = true;
        if let Some(op) = op {
            self.history.arrive(self.now, op, node);
        }
        self.handle(node, Event::Call { number, call, caller: number });
    }

    /// A node answers.
    pub(super) fn answer(&mut self, number: CallNumber, result: Result<Reply, Refusal>) {
        let Some(open) = self.calls.open.get_mut(&number) else { return };
        open.is_at_node = false;
        let (node, is_lost) = (open.node, open.is_deaf);
        if !open.is_cancelled && open.asker != Asker::Transport {
            if !is_lost {
                self.send_answer(number, result);
            }
            return;
        }
        self.calls.open.remove(&number);
        if let Some(permit) = result.ok().and_then(|reply| reply.permit_to_give_back()) {
            self.coverage.hit("undelivered grant given back");
            self.handle(node, Event::Undelivered(permit));
        }
    }

    fn send_answer(&mut self, number: CallNumber, result: Result<Reply, Refusal>) {
        let arrives_at = self.now + self.client_way();
        self.agenda.plan(arrives_at, Planned::Answer(number, Box::new(result)));
    }

    /// An answer arrives at its asker.
    pub(super) fn deliver(&mut self, number: CallNumber, result: &Result<Reply, Refusal>) {
        let Some(open) = self.calls.open.remove(&number).filter(|open| open.is_awaited) else { return };
        self.trace.fold(&[self.now.0, 2, number, u64::from(result.is_ok())]);
        if let (Some(op), Some(reply)) = (open.op, history::Reply::of(result)) {
            self.trace.tell(self.now, || format!("{} hears (op {op}): {}", open.asker, brief_result(result)));
            self.history.reply(self.now, op, reply);
        }
        match open.asker {
            Asker::Client(at, token) => {
                let nodes: Vec<_> = self.nodes.keys().copied().collect();
                let ground = self.ground(&nodes);
                self.clients[at].answered(ground, token, result, &mut self.coverage);
                self.plan_client(at);
            }
            Asker::Operator => {
                self.trace.tell(self.now, || format!("operator hears: {}", brief_result(result)));
                self.operator.answered(result, &mut self.coverage);
                self.agenda.plan(self.now + Span::from_millis(100), Planned::Operator);
            }
            Asker::Transport => {}
        }
    }

    /// An asker loses patience; the node hears of it later.
    pub(super) fn give_up(&mut self, number: CallNumber) {
        let Some(open) = self.calls.open.get_mut(&number).filter(|open| open.is_awaited) else { return };
        open.is_awaited = false;
        let (asker, op) = (open.asker, open.op);
        if let Some(op) = op {
            self.history.gone(self.now, op);
        }
        match asker {
            Asker::Client(at, token) => {
                self.trace.tell(self.now, || format!("client {} gives up (op {op:?})", at + 1));
                let nodes: Vec<_> = self.nodes.keys().copied().collect();
                let ground = self.ground(&nodes);
                self.clients[at].gave_up(ground, token, &mut self.coverage);
                self.plan_client(at);
            }
            Asker::Operator => {
                self.operator.gave_up();
                self.agenda.plan(self.now, Planned::Operator);
            }
            Asker::Transport => {}
        }
        let heard_at = self.now + self.client_way();
        self.agenda.plan(heard_at, Planned::Cancelled(number));
    }

    /// A node hears that nobody waits any more. Of calls that it decides at once its replica is not told, as in
    /// [`tollgate_server::raft::door`]: what one of them is granted finds nobody, and goes back.
    pub(super) fn cancel(&mut self, number: CallNumber) {
        let Some(open) = self.calls.open.get_mut(&number) else { return };
        open.is_cancelled = true;
        let (node, op, may_wait) = (open.node, open.op, open.may_wait);
        match (open.is_at_node, &open.call) {
            (true, _) if may_wait => {
                if let Some(op) = op {
                    self.history.leave(self.now, op, node);
                }
                self.handle(node, Event::Cancelled(number));
            }
            // It is decided all the same, or is still on its way.
            (true, _) | (false, Some(_)) => {}
            (false, None) => {
                self.calls.open.remove(&number);
            }
        }
    }

    /// A client has crashed: it waits for nothing any more.
    pub(super) fn abandon(&mut self, at: usize) {
        let is_its =
            |open: &OpenCall| open.is_awaited && matches!(open.asker, Asker::Client(by, _) if by == at);
        let numbers: Vec<_> =
            self.calls.open.iter().filter(|(_, open)| is_its(open)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.give_up(number);
        }
    }

    /// A process has ended: whoever waits for it hears that the connection broke.
    pub(super) fn break_calls(&mut self, id: NodeId) {
        let is_broken = |open: &OpenCall| open.node == id && open.is_at_node;
        let broken: Vec<_> =
            self.calls.open.iter().filter(|(_, open)| is_broken(open)).map(|(number, _)| *number).collect();
        for number in broken {
            if let Some(open) = self.calls.open.get_mut(&number) {
                open.is_at_node = false;
            }
            self.send_answer(number, Err(Refusal::OutcomeUnknown));
        }
    }

    /// Where a call that is about to arrive will be taken in.
    pub(super) fn destination(&self, number: CallNumber) -> Option<NodeId> {
        self.calls.open.get(&number).map(|open| open.node)
    }

    fn client_way(&mut self) -> Span {
        Span(self.random.between(100, 3_000) * 1_000)
    }
}
