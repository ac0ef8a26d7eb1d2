//! When a line is looked at: when it is due, and when something changes.

use std::ops::Bound::{Excluded, Unbounded};

use tollgate_limiter::{ClusterTime, Label, Line, Span};

use super::{Lines, Task};
use crate::Moment;

impl Lines {
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
        let is_same = |other: &Line| match line {
            Line::Gate { key: same, .. } => matches!(other, Line::Gate { key, .. } if key == same),
            Line::Limit { limit: l, scope_value: v, .. } => {
                matches!(other, Line::Limit { limit, scope_value, .. } if (limit, scope_value) == (l, v))
            }
            Line::Call { .. } | Line::Ration { .. } => other == line,
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
    pub(super) fn check_related(&mut self, line: &Line) {
        if matches!(line, Line::Ration { key } if !key.is_empty()) {
            self.wake(&Line::Ration { key: Label::default() });
        }
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
    pub fn enlist(&mut self, line: &Line) {
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
}
