//! One circuit: closed, open, or half-open; see [`CircuitBreaker`] for the rules.
//!
//! Being half-open is no state of its own but what an open circuit comes to with time, so no timer has to fire: until a
//! moment nothing is granted, from then on as many probes as there are places. So it is with being closed because no probe has failed
//! for long: the circuit is replaced when the next permit is granted, or the next call told of, and is as if closed until then.
//!
//! What is told of calls comes in any order. Permits are numbered as they are granted, so what is told of a permit that was
//! granted before the circuit closed last says nothing of the vendor as it is now, and is left aside; and while the circuit
//! is not closed, only probes count.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::tally::Tally;
use crate::model::{CallOutcome, CircuitBreaker, CircuitState, CircuitStatus, ClusterTime, PermitId, Span};

/// Probes that have given up their place and of which something may still be told.
const PROBES_REMEMBERED: usize = 1_000;

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
    /// `None`: it opened before this was kept.
    #[n(4)]
    opening: Option<Opening>,
}

/// When a circuit opened first since it was closed, and because of what; for people.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Opening {
    #[n(0)]
    at: ClusterTime,
    /// The last failure, that of a probe included.
    #[n(1)]
    last: CallOutcome,
    #[n(2)]
    failures_in_row: u32,
    /// Of the window, as they stood then.
    #[n(3)]
    calls: u64,
    #[n(4)]
    failures: u64,
}

impl Circuit {
    /// Closed, as if it never failed. `newest` is the last permit that was granted.
    pub(crate) fn closed_after(newest: PermitId) -> Circuit {
        Circuit { closed_after: newest.0, ..Circuit::default() }
    }

    /// How long until a permit can be granted; exact if nothing is told of probes before.
    pub(crate) fn wait(&self, breaker: &CircuitBreaker, now: ClusterTime) -> Span {
        let Some(opened) = self.in_force(breaker, now) else { return Span::ZERO };
        if now < opened.until {
            return opened.until.since(now);
        }
        // Never more are out than there are places, unless a change of the definition took some away.
        let mut ends: Vec<_> = opened.probes.values().filter(|end| now < **end).collect();
        let surplus = ends.len().checked_sub(breaker.probes as usize);
        ends.sort_unstable();
        let first = surplus.and_then(|surplus| ends.get(surplus));
        first.map_or(Span::ZERO, |end| opened.closes_at(breaker).min(**end).since(now))
    }

    /// Whether what is granted now is a probe, or the first permit after it has closed because no probe has failed: the ramp begins with
    /// that one, so it is to keep the order of those who wait for probes.
    pub(crate) fn is_rationed(&self, now: ClusterTime) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.until <= now)
    }

    /// Whether there are probes of which nothing was told yet. If it has closed since because none has failed, that moves nothing.
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

    /// A permit was granted. If it is a probe, it has its place until `lease_end` at the latest. Returns where the circuit stands if it
    /// had closed because no probe has failed, which is noticed now.
    pub(crate) fn granted(
        &mut self,
        permit: PermitId,
        lease_end: Option<ClusterTime>,
        breaker: &CircuitBreaker,
        now: ClusterTime,
    ) -> Option<CircuitStatus> {
        // What is granted from now on is of the vendor as it is now.
        let before = PermitId(permit.0.saturating_sub(1));
        let closed = self.close_if_none_failed(before, breaker, now);
        self.note_probe(permit, lease_end, breaker, now);
        closed
    }

    fn note_probe(
        &mut self,
        permit: PermitId,
        lease_end: Option<ClusterTime>,
        breaker: &CircuitBreaker,
        now: ClusterTime,
    ) {
        let Some(opened) = self.opened.as_mut().filter(|opened| opened.until <= now) else { return };
        let timeout = now + breaker.probe_timeout;
        opened.probes.insert(permit, lease_end.map_or(timeout, |end| end.min(timeout)));
        // Those that gave up their place, the oldest first: calls may hang for longer than a probe is waited for, and then tell of it.
        if opened.probes.len() > breaker.probes as usize + PROBES_REMEMBERED {
            let gone = opened.probes.iter().find(|(_, end)| **end <= now).map(|(permit, _)| *permit);
            gone.map(|permit| opened.probes.remove(&permit));
        }
    }

    /// A call ended. Without its permit it counts as one that was granted just now while the circuit is closed, else not at all:
    /// nobody knows whether it was a probe. `newest` is the last permit that was granted. Returns where it stands if it opened,
    /// opened again, or closed; if it had closed because no probe has failed, and opens with this call, that it opened.
    pub(crate) fn ended(
        &mut self,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        breaker: &CircuitBreaker,
        newest: PermitId,
        now: ClusterTime,
    ) -> Option<CircuitStatus> {
        let closed = self.close_if_none_failed(newest, breaker, now);
        if self.opened.is_some() {
            return self.probe_ended(permit, outcome, breaker, newest, now);
        }
        self.call_ended(permit, outcome, breaker, now).or(closed)
    }

    /// While it is closed.
    fn call_ended(
        &mut self,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        breaker: &CircuitBreaker,
        now: ClusterTime,
    ) -> Option<CircuitStatus> {
        let succeeded = outcome.succeeded().filter(|_| permit.is_none_or(|id| id.0 > self.closed_after))?;
        // Failures with nothing between them for longer than the window are not of one outage.
        let is_alone = self.calls.total(breaker.window, now).0 == 0;
        self.calls.count(succeeded, breaker.window, now);
        self.failures_in_row = match (succeeded, is_alone) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => self.failures_in_row.saturating_add(1),
        };
        let (calls, failures) = self.calls.total(breaker.window, now);
        let in_row = breaker.consecutive_failures > 0 && self.failures_in_row >= breaker.consecutive_failures;
        let share = breaker.failure_percent > 0
            && calls >= u64::from(breaker.minimum_calls)
            && failures * 100 >= calls * u64::from(breaker.failure_percent);
        if succeeded || !(in_row || share) {
            return None;
        }
        let failures_in_row = self.failures_in_row;
        let opening = Opening { at: now, last: outcome, failures_in_row, calls, failures };
        *self = Circuit { opened: Some(Opened::at(now, 1, breaker, Some(opening))), ..Circuit::default() };
        self.status(breaker, now)
    }

    fn probe_ended(
        &mut self,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        breaker: &CircuitBreaker,
        newest: PermitId,
        now: ClusterTime,
    ) -> Option<CircuitStatus> {
        let opened = self.opened.as_mut()?;
        opened.probes.remove(&permit?)?;
        if !outcome.succeeded()? {
            let opening = opened.opening.take().map(|opening| Opening { last: outcome, ..opening });
            *opened = Opened::at(now, opened.times.saturating_add(1), breaker, opening);
            return self.status(breaker, now);
        }
        opened.succeeded += 1;
        if opened.succeeded < breaker.probes {
            return None;
        }
        let closed = self.closing(now);
        *self = Circuit::closed_after(newest);
        closed
    }

    /// It is closed for good if it has closed because no probe has failed. What is told of its probes from now on is left aside, like
    /// all that was granted up to `newest`. Returns where it stands then.
    fn close_if_none_failed(
        &mut self,
        newest: PermitId,
        breaker: &CircuitBreaker,
        now: ClusterTime,
    ) -> Option<CircuitStatus> {
        self.opened.as_ref().filter(|opened| opened.closes_at(breaker) <= now)?;
        let closed = self.closing(now);
        *self = Circuit::closed_after(newest);
        closed
    }

    /// `None`: it is closed, or as if closed because no probe has failed.
    fn in_force(&self, breaker: &CircuitBreaker, now: ClusterTime) -> Option<&Opened> {
        self.opened.as_ref().filter(|opened| now < opened.closes_at(breaker))
    }

    /// Where it stands if it closes now: closed, and how it was opened. `None`: it is closed already.
    pub(crate) fn closing(&self, now: ClusterTime) -> Option<CircuitStatus> {
        let opened = self.opened.as_ref()?;
        Some(CircuitStatus {
            times_opened: opened.times,
            probes_succeeded: opened.succeeded,
            ..opened.cause(now)
        })
    }

    /// Where it stands, unless it is closed and nothing has failed.
    pub(crate) fn status(&self, breaker: &CircuitBreaker, now: ClusterTime) -> Option<CircuitStatus> {
        let left = self.wait(breaker, now);
        let Some(opened) = self.in_force(breaker, now) else {
            let (calls, failures) = self.calls.total(breaker.window, now);
            let status = CircuitStatus {
                failures_in_row: self.failures_in_row,
                calls,
                failures,
                ..Default::default()
            };
            return (failures > 0).then_some(status);
        };
        let state = if now < opened.until { CircuitState::Open } else { CircuitState::HalfOpen };
        Some(CircuitStatus {
            state,
            left,
            times_opened: opened.times,
            probes_out: opened.probes.values().filter(|end| now < **end).count() as u32,
            probes_succeeded: opened.succeeded,
            ..opened.cause(now)
        })
    }
}

impl Opened {
    /// For twice as long each time: `open_for · 2^(times − 1)`, at most `max_open_for`.
    fn at(now: ClusterTime, times: u32, breaker: &CircuitBreaker, opening: Option<Opening>) -> Opened {
        let doublings = times.saturating_sub(1).min(u64::BITS - 1);
        let length = breaker.open_for.0.saturating_mul(1 << doublings);
        let until = now + Span(length).min(breaker.max_open_for);
        Opened { until, times, probes: BTreeMap::new(), succeeded: 0, opening }
    }

    /// When it closes unless a probe fails before, which sets `until` anew: where only failures are told, nobody would ever close it.
    /// Not before a probe that hangs would have given up its place.
    fn closes_at(&self, breaker: &CircuitBreaker) -> ClusterTime {
        self.until + breaker.max_open_for.max(breaker.probe_timeout)
    }

    /// Since when it has been open, and because of what, as far as that is known.
    fn cause(&self, now: ClusterTime) -> CircuitStatus {
        let Some(opening) = &self.opening else { return CircuitStatus::default() };
        CircuitStatus {
            open_for: Some(now.since(opening.at)),
            opened_by: Some(opening.last),
            failures_in_row: opening.failures_in_row,
            calls: opening.calls,
            failures: opening.failures,
            ..CircuitStatus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_that_opened_before_its_cause_was_kept_is_read() {
        let (until, probes) = (ClusterTime(7), BTreeMap::from([(PermitId(3), ClusterTime(9))]));
        let before = minicbor::to_vec((until, 2u32, &probes, 1u32)).unwrap();
        let opened: Opened = minicbor::decode(&before).unwrap();
        assert_eq!(opened, Opened { until, times: 2, probes, succeeded: 1, opening: None });
        let circuit = Circuit { opened: Some(opened), ..Circuit::default() };
        let status = circuit.status(&CircuitBreaker::default(), ClusterTime(8)).unwrap();
        assert_eq!((status.times_opened, status.open_for, status.opened_by), (2, None, None));
    }

    #[test]
    fn it_closes_no_sooner_than_a_probe_that_hangs_gives_up_its_place() {
        let breaker =
            CircuitBreaker { max_open_for: Span(3), probe_timeout: Span(10), ..CircuitBreaker::default() };
        let opened = Opened::at(ClusterTime(5), 1, &breaker, None);
        assert_eq!((opened.until, opened.closes_at(&breaker)), (ClusterTime(8), ClusterTime(18)));
        let mut circuit = Circuit { opened: Some(opened), ..Circuit::default() };
        circuit.granted(PermitId(7), None, &breaker, ClusterTime(17));
        assert_eq!(circuit.wait(&breaker, ClusterTime(17)), Span(1));
        assert_eq!(circuit.wait(&breaker, ClusterTime(18)), Span::ZERO);
        assert_eq!(circuit.status(&breaker, ClusterTime(18)), None);
        let closed = circuit.granted(PermitId(8), None, &breaker, ClusterTime(18));
        assert_eq!(closed.map(|closed| closed.state), Some(CircuitState::Closed));
        assert_eq!(circuit, Circuit::closed_after(PermitId(7)));
    }
}
