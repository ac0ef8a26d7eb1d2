//! All lines of a resource: which of them are to be looked at, and when.
//!
//! Of a line only the next one in it is ever asked about: either it can go, or what holds it is known, and until when.
//! **Invariant:** a line in which somebody stands is on the agenda, or the next one in it is the one that was last
//! looked at, and the line is due when that one's obstacle frees by itself.

#[cfg(test)]
mod consistency;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use tollgate_limiter::{ClusterTime, Label, Line, Priority, Span};

use super::{
    Moment,
    arrival::{Arrival, ArrivedAt},
    flow::{FlowId, FlowKey},
    line::{Comer, Next, Standing},
};

/// Lines in which nobody stands, and of which it is remembered who has had how much; beyond it, the one that was passed last
/// the longest ago is forgotten. Where limits bind by turns, shares are fair only if what was had at one is not forgotten
/// while another binds.
const DESERTED_MAX: usize = 256;

/// The lines of one resource.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: BTreeMap<Line, Watched>,
    agenda: BTreeSet<(Urgency, Task)>,
    dues: BTreeSet<(ClusterTime, Line)>,
    deserted: BTreeSet<(u64, Line)>,
    desertions: u64,
    holder: Option<Holder>,
    now: Moment,
    aged: ArrivedAt,
}

/// Who goes first of those that are looked at together: the smaller.
pub(crate) type Urgency = (std::cmp::Reverse<Priority>, Arrival);

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// A flow that stands nowhere yet.
    Door(FlowId),
    /// The next one in a line.
    Line(Line),
}

#[derive(Debug, Default)]
struct Watched {
    standing: Standing,
    looked_at: Option<Arrival>,
    due: Option<ClusterTime>,
    on_agenda: Option<Urgency>,
    deserted: Option<u64>,
}

/// An aged waiter whose turn it was at one line when another limit held it, for a moment. It keeps its place at both:
/// nobody passes them, so that two limits which are never free together cannot starve it.
#[derive(Debug)]
struct Holder {
    next: Next,
    lines: Vec<Line>,
}

impl Lines {
    /// None, at this time. Who has waited for `ageing` has aged.
    pub fn new(now: Moment, ageing: Span) -> Lines {
        Lines {
            lines: BTreeMap::new(),
            agenda: BTreeSet::new(),
            dues: BTreeSet::new(),
            deserted: BTreeSet::new(),
            desertions: 0,
            holder: None,
            now,
            aged: ArrivedAt::before(now, ageing),
        }
    }

    /// It is later.
    pub fn set_time(&mut self, now: Moment, ageing: Span) {
        (self.now, self.aged) = (now, ArrivedAt::before(now, ageing));
    }

    pub fn now(&self) -> Moment {
        self.now
    }

    /// Takes out what is to be looked at first.
    pub fn take_task(&mut self) -> Option<Task> {
        while let Some((urgency, task)) = self.agenda.pop_first() {
            let Task::Line(line) = &task else { return Some(task) };
            if let Some(watched) = self.lines.get_mut(line) {
                (watched.on_agenda, watched.looked_at) = (None, None);
            }
            match self.next(line) {
                None => {}
                // Who was next when it was put on the agenda has left: others may be more urgent by now.
                Some(next) if next.urgency() > urgency => self.enlist(line),
                Some(_) => return Some(task),
            }
        }
        None
    }

    /// Whether there is anything to look at.
    pub fn has_tasks(&self) -> bool {
        !self.agenda.is_empty()
    }

    /// A flow waits at the door.
    pub fn knock(&mut self, flow: FlowId, key: &FlowKey, head: Arrival) {
        self.agenda.insert(((std::cmp::Reverse(key.priority), head), Task::Door(flow)));
    }

    /// A flow does not wait at the door any more.
    pub fn withdraw(&mut self, flow: FlowId, key: &FlowKey, head: Arrival) {
        self.agenda.remove(&((std::cmp::Reverse(key.priority), head), Task::Door(flow)));
    }

    /// Who is next in the line.
    pub fn next(&self, line: &Line) -> Option<Next> {
        let standing = &self.lines.get(line)?.standing;
        let holder = self.holder.as_ref().map(|holder| holder.next);
        holder.filter(|holder| standing.stands(holder.arrival)).or_else(|| standing.next(self.aged))
    }

    /// A flow comes to stand in the line.
    pub fn stand(&mut self, line: &Line, comer: Comer) {
        let watched = self.lines.entry(line.clone()).or_default();
        if let Some(since) = watched.deserted.take() {
            self.deserted.remove(&(since, line.clone()));
        }
        watched.standing.stand(comer);
        self.check(line);
    }

    /// A flow leaves the line.
    pub fn leave(&mut self, line: &Line, key: &FlowKey, head: Arrival) {
        let Some(watched) = self.lines.get_mut(line) else { return };
        watched.standing.leave(key, head);
        if watched.standing.is_empty() {
            self.desert(line);
        }
        self.check(line);
        self.check_related(line);
    }

    /// A flow stays in the line, with another head.
    pub fn follow(&mut self, line: &Line, key: &FlowKey, old: Arrival, new: Arrival) {
        let Some(watched) = self.lines.get_mut(line) else { return };
        watched.standing.follow(key, old, new);
        self.check(line);
        self.check_related(line);
    }

    /// Whether somebody stands in the line, or holds it, who is to go before the comer.
    pub fn is_before(&self, line: &Line, comer: Comer, has_right_of_way: bool) -> bool {
        if let Some(holder) = self.holder.as_ref().filter(|holder| holder.lines.contains(line)) {
            return holder.next.flow != comer.flow;
        }
        let aged = self.aged;
        !has_right_of_way
            && self.lines.get(line).is_some_and(|watched| watched.standing.is_before(comer, aged))
    }

    /// The comer gets a permit for which it passes the line. Also where nobody stands, because somebody may come to.
    pub fn pass(&mut self, line: &Line, comer: Comer, amount: u64, weight: u32) {
        let aged = self.aged;
        let watched = self.lines.entry(line.clone()).or_default();
        watched.standing.pass(comer, amount, weight, aged);
        if watched.standing.is_empty() {
            self.desert(line);
        }
        self.check(line);
        self.check_related(line);
    }

    /// The next one in the line was looked at and cannot go. The line is looked at again when what holds that one frees by
    /// itself, and when something changes.
    pub fn settle(&mut self, line: &Line, frees_in: Option<Span>) {
        let next = self.next(line).map(|next| next.arrival);
        let Some(watched) = self.lines.get_mut(line) else { return };
        watched.looked_at = next;
        if let Some(urgency) = watched.on_agenda.take() {
            self.agenda.remove(&(urgency, Task::Line(line.clone())));
        }
        self.set_due(line, frees_in.map(|span| self.now.stamp.after(span).cluster));
        self.expect_ageing(line);
    }

    /// How long until the line is looked at by itself.
    pub fn due_in(&self, line: &Line) -> Option<Span> {
        let due = self.lines.get(line)?.due?;
        Some(due.since(self.now.stamp.cluster))
    }

    /// When a line is looked at by itself next.
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.dues.first().map(|(due, _)| *due)
    }

    /// Puts the lines that are due on the agenda.
    pub fn wake_due(&mut self, now: Moment) {
        self.now = now;
        while let Some((due, line)) = self.dues.first()
            && *due <= self.now.stamp.cluster
        {
            let line = line.clone();
            self.enlist(&line);
        }
    }

    /// Puts the line without a budget on the agenda, and with it those of all budgets.
    pub fn wake(&mut self, line: &Line) {
        let is_same = |other: &Line| match (other, line) {
            (Line::Gate { key, .. }, Line::Gate { key: same, .. }) => key == same,
            (Line::Limit { limit, scope_value, .. }, Line::Limit { limit: l, scope_value: v, .. }) => {
                (limit, scope_value) == (l, v)
            }
            _ => false,
        };
        let lines = self.lines.range(line.clone()..).map(|(other, _)| other);
        let lines: Vec<_> = lines.take_while(|other| is_same(other)).cloned().collect();
        lines.iter().for_each(|line| self.enlist(line));
    }

    /// Puts all lines on the agenda.
    pub fn wake_all(&mut self) {
        let lines: Vec<_> = self.lines.keys().cloned().collect();
        lines.iter().for_each(|line| self.enlist(line));
    }

    /// An aged waiter whose turn it was has come to another limit, which frees soon: it holds all the lines that it has
    /// come by. At most one does.
    pub fn hold(&mut self, next: Next, from: &Line, at: &Line) {
        match &mut self.holder {
            None => self.holder = Some(Holder { next, lines: vec![from.clone(), at.clone()] }),
            Some(holder) if holder.next.flow == next.flow && !holder.lines.contains(at) => {
                holder.lines.push(at.clone());
            }
            Some(_) => {}
        }
    }

    /// Whoever holds lines does so no longer, if it is this one.
    pub fn let_go(&mut self, arrival: Arrival) {
        if let Some(holder) = self.holder.take_if(|holder| holder.next.arrival == arrival) {
            holder.lines.iter().for_each(|line| self.enlist(line));
        }
    }

    /// Whether it holds lines.
    pub fn holds(&self, arrival: Arrival) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.next.arrival == arrival)
    }

    /// Puts the line on the agenda unless the one that was looked at is still the next one.
    pub fn check(&mut self, line: &Line) {
        let next = self.next(line).map(|next| next.arrival);
        let Some(watched) = self.lines.get(line) else { return };
        match watched.on_agenda.is_some() || next.is_none() || next != watched.looked_at {
            true => self.enlist(line),
            false => self.expect_ageing(line),
        }
    }

    /// Another one will be next when it has aged.
    fn expect_ageing(&mut self, line: &Line) {
        let Some(watched) = self.lines.get(line) else { return };
        let Some(oldest) = watched.standing.next_by_age(self.aged) else { return };
        let ages_in = Span(u64::try_from(oldest.0.saturating_sub(self.aged.0)).unwrap_or(0));
        let ages_at = self.now.stamp.after(ages_in).cluster;
        if watched.due.is_none_or(|due| ages_at < due) {
            self.set_due(line, Some(ages_at));
        }
    }

    fn set_due(&mut self, line: &Line, due: Option<ClusterTime>) {
        let Some(watched) = self.lines.get_mut(line) else { return };
        if let Some(before) = std::mem::replace(&mut watched.due, due) {
            self.dues.remove(&(before, line.clone()));
        }
        self.dues.extend(due.map(|due| (due, line.clone())));
    }

    /// Whatever changes in a line may let others go: those that any key would do, by the key that the limiter takes; and
    /// those whose budget has a share of their own, where they gave way to others.
    fn check_related(&mut self, line: &Line) {
        let Line::Limit { limit, scope_value, budget } = line else { return };
        let (limit, scope_value) = (limit.clone(), scope_value.clone());
        if budget.is_none() {
            let is_share = |other: &Line| {
                let Line::Limit { limit: same, scope_value: value, .. } = other else { return false };
                (same, value) == (&limit, &scope_value)
            };
            let shares = self.lines.range((Excluded(line), Unbounded)).map(|(other, _)| other);
            let shares: Vec<_> = shares.take_while(|other| is_share(other)).cloned().collect();
            shares.iter().for_each(|share| self.enlist(share));
        }
        if !scope_value.is_empty() {
            self.wake(&Line::Limit { limit, scope_value: Label::default(), budget: None });
        }
    }

    /// Files the line on the agenda as urgent as who is next in it; takes it off where nobody stands.
    fn enlist(&mut self, line: &Line) {
        let urgency = self.next(line).map(|next| next.urgency());
        self.set_due(line, None);
        let Some(watched) = self.lines.get_mut(line) else { return };
        if watched.on_agenda != urgency {
            let task = |urgency| (urgency, Task::Line(line.clone()));
            let before = std::mem::replace(&mut watched.on_agenda, urgency);
            before.map(|before| self.agenda.remove(&task(before)));
            self.agenda.extend(urgency.map(task));
        }
    }

    /// Nobody stands in the line: it is the last of those to be forgotten.
    fn desert(&mut self, line: &Line) {
        let Some(watched) = self.lines.get_mut(line) else { return };
        self.desertions += 1;
        if let Some(before) = watched.deserted.replace(self.desertions) {
            self.deserted.remove(&(before, line.clone()));
        }
        self.deserted.insert((self.desertions, line.clone()));
        if self.deserted.len() > DESERTED_MAX
            && let Some((_, first)) = self.deserted.pop_first()
        {
            self.lines.remove(&first);
        }
    }
}

impl Next {
    fn urgency(&self) -> Urgency {
        (std::cmp::Reverse(self.priority), self.arrival)
    }
}
