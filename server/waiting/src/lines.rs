//! All lines of a resource: which of them are to be looked at, and when.
//!
//! Of a line only the next one in it is asked about: either it can go, or what holds it is known, and until when. Others are
//! when their call has ended or they have become the first of their flow: they may need nothing of the line.
//! **Invariant:** a line in which somebody stands is on the agenda, or the next one in it is the one that was last
//! looked at, and the line is due when that one's obstacle frees by itself.

#[cfg(test)]
mod consistency;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{ClusterTime, Line, Priority, Span};

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
    /// A flow, wherever it stands: what others call for it has come to an end, or another one is its first.
    Call(FlowId),
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

    /// A flow is to be looked at where it stands.
    pub fn call_on(&mut self, flow: FlowId, key: &FlowKey, head: Arrival) {
        self.agenda.insert(((std::cmp::Reverse(key.priority), head), Task::Call(flow)));
    }

    /// A flow was looked at, or its first one has left.
    pub fn call_off(&mut self, flow: FlowId, key: &FlowKey, head: Arrival) {
        self.agenda.remove(&((std::cmp::Reverse(key.priority), head), Task::Call(flow)));
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

    /// A flow stands elsewhere, and keeps the place that it would have here.
    pub fn keep_place(&mut self, line: &Line, comer: Comer) {
        if let Some(watched) = self.lines.get_mut(line) {
            watched.standing.keep_place(comer);
        }
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
