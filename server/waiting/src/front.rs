//! Who waits for one resource: flows, and the lines that they stand in.

mod calls;
#[cfg(test)]
mod consistency;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tollgate_limiter::{Acquire, ClusterTime, Label, Line, Obstacle, Passage, Span};

use self::calls::Calls;
use super::{
    Moment, WaiterId,
    arrival::Arrival,
    census::Census,
    flow::{Flow, FlowId, FlowKey, Texts},
    line::{Comer, Next},
    lines::{Lines, Task},
};

/// An aged waiter that comes from one line to another keeps its place at both if the other frees within this time, or
/// within the time that it has stood at the first. Where two limits hold it by turns, it does so at the second at the latest;
/// and no limit lies idle for its sake for longer than it has waited for it.
const HOLDS_FOR: Span = Span::from_secs(1);

/// How soon to look again at one that gave way where time alone may lead it past the others, and nobody tells: it would take any
/// key, and which one it would get may change as keys fill up again; or permits are rationed, which ends when a pace is over.
pub(crate) const RELOOK: Span = Span::from_millis(100);

/// One resource's.
#[derive(Debug)]
pub(crate) struct Front {
    /// Of the definition that the flows were formed by.
    pub generation: u64,
    pub census: Census,
    /// Those without patience that have not had their turn here.
    pub impatient: BTreeSet<WaiterId>,
    /// When the queue knows it to be due.
    pub filed: Option<ClusterTime>,
    lines: Lines,
    flows: BTreeMap<FlowId, Flow>,
    by_key: BTreeMap<Arc<FlowKey>, FlowId>,
    calls: Calls,
}

/// One that might go.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub flow: FlowId,
    pub arrival: Arrival,
    pub key: Arc<FlowKey>,
    /// Where it stands; absent at the door.
    from: Option<Line>,
    is_aged: bool,
}

impl Front {
    pub fn new(generation: u64, now: Moment, ageing: Span) -> Front {
        Front {
            generation,
            census: Census::default(),
            impatient: BTreeSet::new(),
            filed: None,
            lines: Lines::new(now, ageing),
            flows: BTreeMap::new(),
            by_key: BTreeMap::new(),
            calls: Calls::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether anybody could be looked at or answered now.
    pub fn has_work(&self) -> bool {
        self.lines.has_tasks() || !self.impatient.is_empty()
    }

    pub fn set_time(&mut self, now: Moment, ageing: Span) {
        self.lines.set_time(now, ageing);
    }

    /// The lines, to be woken.
    pub fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    /// When a line frees by itself.
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.lines.next_due()
    }

    /// Forgets all flows and lines; those who wait are returned by arrival, each with the flow that it was in.
    pub fn start_over(&mut self, generation: u64, now: Moment, ageing: Span) -> Vec<(FlowId, Arrival)> {
        let flows = std::mem::take(&mut self.flows).into_iter();
        let members = flows.flat_map(|(id, flow)| flow.members.into_iter().map(move |arrival| (id, arrival)));
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|(_, arrival)| *arrival);
        (self.generation, self.lines) = (generation, Lines::new(now, ageing));
        (self.by_key, self.calls) = (BTreeMap::new(), Calls::default());
        members
    }

    /// The heads of flows, each with its consumer: of each consumer the oldest is among them.
    pub fn heads(&self) -> impl Iterator<Item = (&FlowKey, Arrival)> {
        self.flows.values().filter_map(|flow| Some((&*flow.key, flow.head()?)))
    }

    /// A request joins the flow of that key; a new one, named `fresh`, if there is none. Says which.
    pub fn join(
        &mut self,
        key: FlowKey,
        arrival: Arrival,
        acquire: &mut Arc<Acquire>,
        fresh: FlowId,
    ) -> FlowId {
        if let Some(&id) = self.by_key.get(&key)
            && let Some(flow) = self.flows.get_mut(&id)
        {
            flow.texts.lend(acquire);
            let before = flow.head();
            flow.members.insert(arrival);
            self.follow_head(id, before);
            return id;
        }
        let (key, texts) = (Arc::new(key), Texts::of(acquire));
        self.lines.knock(fresh, &key, arrival);
        self.calls.add(&key, fresh);
        self.by_key.insert(key.clone(), fresh);
        self.flows
            .insert(fresh, Flow { key, members: [arrival].into(), stands: None, since: Span::ZERO, texts });
        fresh
    }

    /// A request leaves its flow, for whatever reason.
    pub fn quit(&mut self, id: FlowId, arrival: Arrival) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let before = flow.head();
        flow.members.remove(&arrival);
        self.follow_head(id, before);
    }

    /// The one to look at next.
    pub fn take_candidate(&mut self) -> Option<Candidate> {
        loop {
            let (flow, from, is_aged) = match self.lines.take_task()? {
                Task::Door(flow) => (flow, None, false),
                Task::Call(flow) => match self.flows.get(&flow).map(|flow| flow.stands.clone()) {
                    Some(from @ Some(_)) => (flow, from, false),
                    _ => continue,
                },
                Task::Line(line) => {
                    let Some(next) = self.lines.next(&line) else { continue };
                    (next.flow, Some(line), next.is_aged)
                }
            };
            let Some(Flow { key, members, .. }) = self.flows.get(&flow) else { continue };
            let Some(arrival) = members.first().copied() else { continue };
            self.lines.call_off(flow, key, arrival);
            return Some(Candidate { flow, arrival, key: key.clone(), from, is_aged });
        }
    }

    /// The limiter has denied the candidate: it stands before the obstacle.
    pub fn stop(&mut self, candidate: &Candidate, obstacle: Obstacle) {
        let Obstacle { line, frees_in } = obstacle;
        let now = self.lines.now().monotonic;
        let since = self.flows.get(&candidate.flow).map_or(now, |flow| flow.since);
        let stood = Span(now.0.saturating_sub(since.0));
        let is_soon = frees_in.is_some_and(|span| span <= HOLDS_FOR.max(stood));
        match &candidate.from {
            // Who waits for another's call may need no room at all.
            Some(from) if candidate.is_aged && is_soon && !matches!(line, Line::Call { .. }) => {
                if *from != line || self.lines.holds(candidate.arrival) {
                    self.lines.hold(candidate.as_next(), from, &line);
                }
            }
            _ => self.lines.let_go(candidate.arrival),
        }
        self.stand(candidate, &line, frees_in);
    }

    /// Of the lines that the candidate would pass, the first in which somebody is to go before it.
    pub fn blocked_at<'a>(&self, candidate: &Candidate, passages: &'a [Passage]) -> Option<&'a Line> {
        let is_blocked =
            |line: &&Line| self.lines.is_before(line, candidate.at(line, passages), candidate.is_aged);
        passages.iter().map(|passage| &passage.line).find(is_blocked)
    }

    /// The candidate goes after others that stand in the line.
    pub fn give_way(&mut self, candidate: &Candidate, line: &Line, passages: &[Passage]) {
        let due = self.lines.due_in(line);
        let soon = Some(due.map_or(RELOOK, |due| due.min(RELOOK)));
        let (line, due) = match candidate.any_key_instead_of(line, passages) {
            Some(home) => (home, soon),
            None if matches!(line, Line::Ration { .. }) => (line, soon),
            None => (line, due),
        };
        match own_share_instead_of(line, passages) {
            Some((home, covered_in)) => {
                self.lines.keep_place(line, candidate.at(line, passages));
                self.stand(candidate, home, Some(due.map_or(covered_in, |due| due.min(covered_in))))
            }
            None => self.stand(candidate, line, due),
        }
    }

    /// The candidate gets a permit, and is charged for it wherever it passes. It is still to leave its flow.
    pub fn pass(&mut self, candidate: &Candidate, passages: &[Passage], weight: u32) {
        for Passage { line, amount, .. } in passages {
            self.lines.pass(line, candidate.at(line, passages), *amount, weight);
        }
        let is_passed = |line: &Line| passages.iter().any(|passage| passage.line == *line);
        match &candidate.from {
            // The vendor has recovered: what is not rationed any more is not charged for either, but still in order.
            Some(line @ Line::Ration { .. }) if is_passed(line) => {}
            Some(line @ (Line::Gate { .. } | Line::Call { .. } | Line::Ration { .. })) => {
                self.lines.pass(line, candidate.as_comer(), 1, weight);
            }
            Some(Line::Limit { .. }) | None => {}
        }
    }

    /// Where the flow stands, and how long until that line is looked at by itself.
    pub fn standing(&self, id: FlowId) -> (Option<&Line>, Option<Span>) {
        let line = self.flows.get(&id).and_then(|flow| flow.stands.as_ref());
        (line, line.and_then(|line| self.lines.due_in(line)))
    }

    fn stand(&mut self, candidate: &Candidate, line: &Line, frees_in: Option<Span>) {
        let Some(flow) = self.flows.get_mut(&candidate.flow) else { return };
        if candidate.from.as_ref() != Some(line) {
            (flow.stands, flow.since) = (Some(line.clone()), self.lines.now().monotonic);
            if let Some(from) = &candidate.from {
                self.lines.leave(from, &candidate.key, candidate.arrival);
            }
            self.lines.stand(line, candidate.as_comer());
        }
        match self.lines.next(line).filter(|next| next.flow == candidate.flow) {
            // Here its age gives it the right of way, which it had not where it came from.
            Some(next) if next.is_aged && !candidate.is_aged => self.lines.enlist(line),
            Some(_) => self.lines.settle(line, frees_in),
            None => self.lines.check(line),
        }
    }

    /// Files the flow by its head, which may have changed; drops it when it has none.
    fn follow_head(&mut self, id: FlowId, before: Option<Arrival>) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let (key, head) = (flow.key.clone(), flow.head());
        let (Some(before), true) = (before, before != head) else { return };
        flow.since = self.lines.now().monotonic;
        self.lines.call_off(id, &key, before);
        match (&flow.stands, head) {
            (Some(line), Some(head)) => {
                self.lines.follow(line, &key, before, head);
                // It may need nothing of what the one before it stood here for: there is a result, or its reserve covers it.
                self.lines.call_on(id, &key, head);
            }
            (Some(line), None) => self.lines.leave(line, &key, before),
            (None, _) => {
                self.lines.withdraw(id, &key, before);
                head.into_iter().for_each(|head| self.lines.knock(id, &key, head));
            }
        }
        self.lines.let_go(before);
        if head.is_none() {
            self.flows.remove(&id);
            self.by_key.remove(&key);
            self.calls.remove(&key, id);
        }
    }
}

impl Candidate {
    fn as_comer(&self) -> Comer<'_> {
        Comer { flow: self.flow, key: &self.key, arrival: self.arrival, is_new: self.from.is_none() }
    }

    /// The same, before this line. In those of single keys, one that any key would do is new every time.
    fn at(&self, line: &Line, passages: &[Passage]) -> Comer<'_> {
        let is_new = self.from.is_none() || self.any_key_instead_of(line, passages).is_some();
        Comer { is_new, ..self.as_comer() }
    }

    /// Where one that any key would do stands instead of the line of the key that it would get now: time alone can make it
    /// another key.
    fn any_key_instead_of<'a>(&self, line: &Line, passages: &'a [Passage]) -> Option<&'a Line> {
        if self.key.signature.pins_key() {
            return None;
        }
        let any_key = match line {
            Line::Limit { limit, scope_value, budget } if !scope_value.is_empty() => {
                Line::Limit { limit: limit.clone(), scope_value: Label::default(), budget: budget.clone() }
            }
            Line::Ration { key } if !key.is_empty() => Line::Ration { key: Label::default() },
            _ => return None,
        };
        passages.iter().map(|passage| &passage.line).find(|line| **line == any_key)
    }

    fn as_next(&self) -> Next {
        Next { flow: self.flow, priority: self.key.priority, arrival: self.arrival, is_aged: true }
    }
}

/// Where one stands whose budget has a reserve, while others go before it to what all share; and when it needs none of that
/// any more. Among those others it would miss what is its own. It loses nothing by it: when it goes with them after all, its
/// place is that of one who stands there.
fn own_share_instead_of<'a>(line: &Line, passages: &'a [Passage]) -> Option<(&'a Line, Span)> {
    let blocked = passages.iter().find(|passage| passage.line == *line)?;
    let Line::Limit { limit, scope_value, budget: None } = line else { return None };
    let is_own = |other: &&Line| match other {
        Line::Limit { limit: same, scope_value: value, budget: Some(_) } => {
            (same, value) == (limit, scope_value)
        }
        _ => false,
    };
    let own = passages.iter().map(|passage| &passage.line).find(is_own)?;
    Some((own, blocked.covered_in?))
}
