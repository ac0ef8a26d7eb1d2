//! Clients that do everything a client may do wrong: see [`Temper`]. A client is a function of what it hears and of its own
//! stream of chance; the world tells it the time.

mod answers;

use std::collections::BTreeMap;

use tollgate_limiter::*;
use tollgate_server::raft::{call::Wait, members::NodeId};

use crate::history;

use super::{coverage::Coverage, random::Random, temper::Temper, workload};

/// Names one try of a client among its own.
pub type Token = u64;

/// How long a client waits for an answer beyond the patience of the request itself.
const TIMEOUT: Span = Span::from_secs(3);

/// Between two herds: all clients that take part ask at the same moments.
const HERD_EVERY_MS: u64 = 3_000;

/// How often a release or a renewal that was not done is tried at most.
const TRIES_MAX: u32 = 6;

/// What a client knows of the world besides what it hears.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The time.
    pub now: Span,
    /// Nodes it may ask.
    pub nodes: &'a [NodeId],
    /// How many resources there are.
    pub resources: usize,
    /// Whether it should ask for nothing new.
    pub is_quiet: bool,
}

/// A try that leaves a client.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Names it when it is answered.
    pub token: Token,
    /// To which node.
    pub to: NodeId,
    /// What.
    pub call: history::Call,
    /// When the client loses patience.
    pub patience: Span,
    /// Whether it does so before it is answered, on purpose.
    pub is_cancelled: bool,
    /// Whether the answer is lost on the way.
    pub is_deaf: bool,
}

impl Ask {
    /// How it may wait, as the server is told.
    pub fn wait(&self) -> Option<Wait> {
        let history::Call { max_wait, waited_for, .. } = self.call;
        (!max_wait.is_zero()).then_some(Wait { max_wait, waited_for })
    }
}

/// What a client does when it wakes.
#[derive(Debug, Default)]
pub struct Moves {
    /// What it asks.
    pub asks: Vec<Ask>,
    /// Whether it has crashed: nobody waits for what is open any more.
    pub has_crashed: bool,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    number: history::ClientId,
    temper: Temper,
    random: Random,
    errands: BTreeMap<(Span, u64), Errand>,
    errands_planned: u64,
    open: BTreeMap<Token, Intent>,
    tokens: Token,
    requests: u64,
    leader: NodeId,
    /// Permits it has, with what it asked for.
    held: BTreeMap<PermitId, Acquire>,
}

/// Something to do at some time.
#[derive(Clone, Debug)]
enum Errand {
    Request,
    Herd,
    Send(Box<Intent>),
    /// If the permit is still held.
    Renew(PermitId),
    Release(PermitId),
    /// The lease has run out.
    LetGo(PermitId),
    Haunt(PermitId),
}

/// What is to be asked, and why.
#[derive(Clone, Debug)]
struct Intent {
    command: Command,
    purpose: Purpose,
    attempt: u32,
    tries: u32,
    max_wait: Span,
    first_asked_at: Option<Span>,
    asked_at: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Acquire,
    Replay,
    Forge,
    Renew,
    Release,
    ReleaseAgain,
    Haunt,
}

impl Client {
    /// A client that begins to ask soon.
    pub fn new(number: history::ClientId, temper: Temper, mut random: Random) -> Client {
        let begin = Span::from_millis(random.below(temper.think_ms) + 300);
        let mut client = Client {
            number,
            temper,
            random,
            errands: BTreeMap::new(),
            errands_planned: 0,
            open: BTreeMap::new(),
            tokens: 0,
            requests: 0,
            leader: 1,
            held: BTreeMap::new(),
        };
        client.plan(begin, Errand::Request);
        if client.temper.herd > 0 {
            client.plan(Span::from_millis(HERD_EVERY_MS), Errand::Herd);
        }
        client
    }

    /// Who it is in the history.
    pub fn number(&self) -> history::ClientId {
        self.number
    }

    /// When it next does something by itself.
    pub fn wakes_at(&self) -> Option<Span> {
        self.errands.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due.
    pub fn wake(&mut self, ground: Ground, seen: &mut Coverage) -> Moves {
        let mut moves = Moves::default();
        while let Some(entry) = self.errands.first_entry().filter(|entry| entry.key().0 <= ground.now) {
            let errand = entry.remove();
            if matches!(errand, Errand::Request) && self.chance(self.temper.crashes) {
                self.crash(ground.now, seen);
                moves.has_crashed = true;
                break;
            }
            self.run(errand, ground, &mut moves, seen);
        }
        moves
    }

    fn run(&mut self, errand: Errand, ground: Ground, moves: &mut Moves, seen: &mut Coverage) {
        match errand {
            Errand::Request => {
                let pause = self.random.between(1, 2 * self.temper.think_ms);
                self.plan(ground.now + Span::from_millis(pause), Errand::Request);
                if !ground.is_quiet {
                    let intent = self.draw_request(ground);
                    moves.asks.push(self.ask(intent, ground));
                }
            }
            Errand::Herd => {
                self.plan(ground.now + Span::from_millis(HERD_EVERY_MS), Errand::Herd);
                if !ground.is_quiet {
                    seen.hit("herd");
                    for _ in 0..self.temper.herd {
                        let intent = self.draw_request(ground);
                        moves.asks.push(self.ask(intent, ground));
                    }
                }
            }
            Errand::Send(intent) => moves.asks.push(self.ask(*intent, ground)),
            Errand::Renew(permit) if self.held.contains_key(&permit) => {
                let renew = Command::Renew(Renew { permit, lease: None });
                moves.asks.push(self.ask(Intent::new(renew, Purpose::Renew), ground));
            }
            Errand::Release(permit) if self.held.contains_key(&permit) => {
                let intent = self.draw_release(permit, seen);
                moves.asks.push(self.ask(intent, ground));
                self.held.remove(&permit);
            }
            Errand::LetGo(permit) if self.held.remove(&permit).is_some() => {
                seen.hit("lease expired at its holder");
                self.plan_haunting(ground.now, permit);
            }
            Errand::Haunt(permit) => {
                let command = match self.chance(500) {
                    true => Command::Renew(Renew { permit, lease: None }),
                    false => release(permit),
                };
                seen.hit("zombie renewed");
                moves.asks.push(self.ask(Intent::new(command, Purpose::Haunt), ground));
            }
            // The permit has ended in the meantime.
            Errand::Renew(_) | Errand::Release(_) | Errand::LetGo(_) => {}
        }
    }

    fn draw_request(&mut self, ground: Ground) -> Intent {
        self.requests += 1;
        let id = self.chance(self.temper.names).then(|| format!("c{}-{}", self.number, self.requests));
        let acquire = workload::request(&mut self.random, ground.resources, id);
        let max_wait_ms = match self.chance(self.temper.waits) {
            true => *self.random.pick(&[50, 500, 3_000, 10_000]),
            false => 0,
        };
        let intent = Intent::new(Command::from(acquire), Purpose::Acquire);
        Intent { max_wait: Span::from_millis(max_wait_ms), ..intent }
    }

    fn draw_release(&mut self, permit: PermitId, seen: &mut Coverage) -> Intent {
        let mut end = end_of(permit);
        if self.chance(self.temper.unsent) {
            seen.hit("refunded as not sent");
            end.outcome = CallOutcome::NotSent;
        } else if self.chance(self.temper.settles) {
            let asked = self.held.get(&permit).map_or(1, |acquire| acquire.cost);
            end.cost = Some(*self.random.pick(&[0, asked, asked * 3]));
            if end.cost > Some(asked) {
                seen.hit("settled above cost");
            }
        }
        Intent::new(Command::Release(end), Purpose::Release)
    }

    fn ask(&mut self, mut intent: Intent, ground: Ground) -> Ask {
        self.tokens += 1;
        intent.tries += 1;
        intent.asked_at = ground.now;
        let first_asked_at = *intent.first_asked_at.get_or_insert(ground.now);
        let stray = self.chance(self.temper.strays) || !ground.nodes.contains(&self.leader);
        let to = if stray { *self.random.pick(ground.nodes) } else { self.leader };
        let is_cancelled = intent.purpose == Purpose::Acquire && self.chance(self.temper.cancels);
        let patience = match is_cancelled {
            true => Span(self.random.between(0, 60_000_000)),
            false => intent.max_wait + TIMEOUT,
        };
        let call = history::Call {
            command: intent.command.clone(),
            attempt: intent.attempt,
            max_wait: intent.max_wait,
            waited_for: Span(ground.now.0 - first_asked_at.0),
        };
        self.open.insert(self.tokens, intent);
        let is_deaf = self.chance(self.temper.deaf);
        Ask { token: self.tokens, to, call, patience, is_cancelled, is_deaf }
    }

    fn crash(&mut self, now: Span, seen: &mut Coverage) {
        if !self.held.is_empty() {
            seen.hit("holder crashed");
        }
        self.held.clear();
        self.errands.clear();
        self.open.clear();
        let down = Span::from_millis(self.random.between(500, 5_000));
        self.plan(now + down, Errand::Request);
    }

    fn plan_haunting(&mut self, now: Span, permit: PermitId) {
        if self.chance(self.temper.haunts) {
            let after = Span::from_millis(*self.random.pick(&[0, 100, 600, 3_000]));
            self.plan(now + after, Errand::Haunt(permit));
        }
    }

    fn plan_again(&mut self, now: Span, intent: Intent) {
        let pause_ms = *self.random.pick(&[0, 3, 30, 300]);
        let pause = Span::from_millis(self.random.below(pause_ms + 1));
        self.plan(now + pause, Errand::Send(Box::new(intent)));
    }

    fn plan(&mut self, at: Span, errand: Errand) {
        self.errands_planned += 1;
        self.errands.insert((at, self.errands_planned), errand);
    }

    fn chance(&mut self, permille: u64) -> bool {
        self.random.chance(permille)
    }
}

impl Intent {
    fn new(command: Command, purpose: Purpose) -> Intent {
        let (attempt, tries, max_wait) = (1, 0, Span::ZERO);
        Intent { command, purpose, attempt, tries, max_wait, first_asked_at: None, asked_at: Span::ZERO }
    }
}

fn release(permit: PermitId) -> Command {
    Command::Release(end_of(permit))
}

fn end_of(permit: PermitId) -> Release {
    Release {
        permit,
        outcome: CallOutcome::Ok,
        cost: None,
        amounts: BTreeMap::new(),
        answer: None,
        result: None,
    }
}
