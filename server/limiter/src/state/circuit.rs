//! One circuit: closed, open, or half-open; see [`CircuitBreaker`] for the rules.
//!
//! Being half-open is no state of its own but what an open circuit comes to with time, so no timer has to fire: until a
//! moment nothing is granted, from then on as many probes as there are places.
//!
//! What is told of calls comes in any order. Permits are numbered as they are granted, so what is told of a permit that was
//! granted before the circuit closed last says nothing of the vendor as it is now, and is left aside; and while the circuit
//! is not closed, only probes count.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::tally::Tally;
use crate::model::{CallOutcome, CircuitBreaker, CircuitState, CircuitStatus, ClusterTime, PermitId, Span};

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Circuit {
    #[n(0)]
    failures_in_row: u32,
    #[n(1)]
    calls: Tally,
    #[n(2)]
    opened: Option<Opened>,
    /// The last permit that was granted before it closed.
    #[n(3)]
    closed_after: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Opened {
    #[n(0)]
    until: ClusterTime,
    /// Since it was closed last, at least once.
    #[n(1)]
    times: u32,
    /// Those of which nothing was told, with the moment at which their place is given up. Some that have given it up are still
    /// remembered: what is told of them late counts all the same.
    #[n(2)]
    probes: BTreeMap<PermitId, ClusterTime>,
    #[n(3)]
    succeeded: u32,
}

/// That a circuit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It opened, or opened again.
    Open,
    /// It closed.
    Closed,
}

impl Circuit {
    /// Closed, as if it never failed. `newest` is the last permit that was granted.
    pub(crate) fn closed_after(newest: PermitId) -> Circuit {
        Circuit { closed_after: newest.0, ..Circuit::default() }
    }

    /// How long until a permit can be granted; exact if nothing is told of probes before.
    pub(crate) fn wait(&self, breaker: &CircuitBreaker, now: ClusterTime) -> Span {
        let Some(opened) = &self.opened else { return Span::ZERO };
        if now < opened.until {
            return opened.until.since(now);
        }
        // Never more are out than there are places, unless a change of the definition took some away.
        let mut ends: Vec<_> = opened.probes.values().filter(|end| now < **end).collect();
        let surplus = ends.len().checked_sub(breaker.probes as usize);
        ends.sort_unstable();
        surplus.and_then(|surplus| ends.get(surplus)).map_or(Span::ZERO, |end| end.since(now))
    }

    /// Whether what is granted now is a probe.
    pub(crate) fn is_half_open(&self, now: ClusterTime) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.until <= now)
    }

    /// Whether there are probes of which nothing was told yet.
    pub(crate) fn awaits_probes(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| !opened.probes.is_empty())
    }

    /// The lease of a permit was renewed. A probe that has its place still has it until `end`.
    pub(crate) fn renewed(&mut self, permit: PermitId, end: ClusterTime, now: ClusterTime) {
        let place = self.opened.as_mut().and_then(|opened| opened.probes.get_mut(&permit));
        if let Some(place) = place.filter(|place| now < **place) {
            *place = end.max(*place);
        }
    }

    /// A permit was granted. If it is a probe, it has its place until `lease_end` at the latest.
    pub(crate) fn granted(
        &mut self,
        permit: PermitId,
        lease_end: Option<ClusterTime>,
        breaker: &CircuitBreaker,
        now: ClusterTime,
    ) {
        let Some(opened) = self.opened.as_mut().filter(|opened| opened.until <= now) else { return };
        let timeout = now + breaker.probe_timeout;
        opened.probes.insert(permit, lease_end.map_or(timeout, |end| end.min(timeout)));
        // Those that gave up their place, the oldest first; as many are remembered as there are places.
        if opened.probes.len() > 2 * breaker.probes as usize {
            let gone = opened.probes.iter().find(|(_, end)| **end <= now).map(|(permit, _)| *permit);
            gone.map(|permit| opened.probes.remove(&permit));
        }
    }

    /// A call ended. Without its permit it counts as one that was granted just now while the circuit is closed, else not at all:
    /// nobody knows whether it was a probe. `newest` is the last permit that was granted.
    pub(crate) fn ended(
        &mut self,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        breaker: &CircuitBreaker,
        newest: PermitId,
        now: ClusterTime,
    ) -> Option<Turned> {
        if self.opened.is_some() {
            return self.probe_ended(permit, outcome, breaker, newest, now);
        }
        let succeeded = outcome.succeeded().filter(|_| permit.is_none_or(|id| id.0 > self.closed_after))?;
        self.calls.count(succeeded, breaker.window, now);
        self.failures_in_row = if succeeded { 0 } else { self.failures_in_row.saturating_add(1) };
        let (calls, failures) = self.calls.total(breaker.window, now);
        let in_row = breaker.consecutive_failures > 0 && self.failures_in_row >= breaker.consecutive_failures;
        let share = breaker.failure_percent > 0
            && calls >= u64::from(breaker.minimum_calls)
            && failures * 100 >= calls * u64::from(breaker.failure_percent);
        if succeeded || !(in_row || share) {
            return None;
        }
        *self = Circuit { opened: Some(Opened::at(now, 1, breaker)), ..Circuit::default() };
        Some(Turned::Open)
    }

    fn probe_ended(
        &mut self,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        breaker: &CircuitBreaker,
        newest: PermitId,
        now: ClusterTime,
    ) -> Option<Turned> {
        let opened = self.opened.as_mut()?;
        opened.probes.remove(&permit?)?;
        if !outcome.succeeded()? {
            *opened = Opened::at(now, opened.times.saturating_add(1), breaker);
            return Some(Turned::Open);
        }
        opened.succeeded += 1;
        if opened.succeeded < breaker.probes {
            return None;
        }
        *self = Circuit::closed_after(newest);
        Some(Turned::Closed)
    }

    /// Where it stands, unless it is closed and nothing has failed.
    pub(crate) fn status(&self, breaker: &CircuitBreaker, now: ClusterTime) -> Option<CircuitStatus> {
        let left = self.wait(breaker, now);
        let Some(opened) = &self.opened else {
            let (calls, failures) = self.calls.total(breaker.window, now);
            let status = CircuitStatus {
                failures_in_row: self.failures_in_row,
                calls,
                failures,
                ..Default::default()
            };
            return (failures > 0 || self.failures_in_row > 0).then_some(status);
        };
        let state = if now < opened.until { CircuitState::Open } else { CircuitState::HalfOpen };
        Some(CircuitStatus {
            state,
            left,
            times_opened: opened.times,
            probes_out: opened.probes.values().filter(|end| now < **end).count() as u32,
            probes_succeeded: opened.succeeded,
            ..Default::default()
        })
    }
}

impl Opened {
    /// For twice as long each time: `open_for · 2^(times − 1)`, at most `max_open_for`.
    fn at(now: ClusterTime, times: u32, breaker: &CircuitBreaker) -> Opened {
        let doublings = times.saturating_sub(1).min(u64::BITS - 1);
        let length = breaker.open_for.0.saturating_mul(1 << doublings);
        let until = now + Span(length).min(breaker.max_open_for);
        Opened { until, times, probes: BTreeMap::new(), succeeded: 0 }
    }
}
