//! The leader is asked to go, in a cluster in which nothing fails: it hands over, or it stops and is started again. Who waits at
//! the leader before comes again at the next one, and no wake-up may be lost by that.

use serde::{Deserialize, Serialize};
use tollgate_limiter::Span;
use tollgate_server::raft::{
    call::{Call, CallNumber},
    members::NodeId,
    replica::Event,
};

use crate::history::Interregnum;

use super::{
    random::Random,
    world::{Planned, World},
};

/// Names the call by which the world itself asks for a transfer. Those of others are counted from 1.
pub(super) const TRANSFER: CallNumber = 0;

/// How long after healing the leader is asked, at the earliest, in milliseconds: once the members were compared, the second time
/// when the first is over, and while clients ask for something yet.
const ASKED_AFTER_MS: [(Handover, u64); 2] = [(Handover::Transfer, 11_000), (Handover::Restart, 14_500)];

/// How much later at most, in milliseconds.
const LATER_MS_MAX: u64 = 1_500;

/// How long to wait for a leader that can be asked.
const PAUSE: Span = Span::from_millis(100);

/// What the leader is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// To hand over to whoever is furthest along.
    Transfer,
    /// To stop. It is started again soon.
    Restart,
}

/// What the leader is asked for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHandover {
    /// Milliseconds after the beginning.
    pub at_ms: u64,
    /// What.
    pub handover: Handover,
}

/// Draws when the leader is asked to go after healing. The stream of chance is of its own: what else is drawn from a seed is the same
/// with it and without.
pub fn draw(seed: u64, healed_at_ms: u64) -> Vec<PlannedHandover> {
    let mut random = Random::new(seed, "handovers");
    let planned = ASKED_AFTER_MS.map(|(handover, after_ms)| PlannedHandover {
        at_ms: healed_at_ms + after_ms + random.below(LATER_MS_MAX),
        handover,
    });
    planned.to_vec()
}

/// A leader that was asked to go.
pub(super) struct Leaving {
    asked_at: Span,
    term: u64,
}

impl World {
    pub(super) fn plan_handovers(&mut self) {
        for PlannedHandover { at_ms, handover } in &self.scenario.handovers {
            let at = Span::from_millis(*at_ms).max(self.now);
            self.agenda.plan(at, Planned::HandOver(*handover));
        }
    }

    /// Asks the leader to go, as soon as there is one.
    pub(super) fn hand_over(&mut self, handover: Handover) {
        let Some((id, term)) = self.leader_and_term() else {
            return self.agenda.plan(self.now + PAUSE, Planned::HandOver(handover));
        };
        self.trace.fold(&[self.now.0, 6, id, term]);
        self.trace.tell(self.now, || format!("node {id}, which leads, is asked for this: {handover:?}"));
        if self.leaving.is_none() {
            self.leaving = Some(Leaving { asked_at: self.now, term });
        }
        let event = match handover {
            Handover::Transfer => {
                Event::Call { number: TRANSFER, call: Call::TransferLeadership(0), caller: TRANSFER }
            }
            Handover::Restart => Event::ShutDown,
        };
        self.handle(id, event);
    }

    fn leader_and_term(&self) -> Option<(NodeId, u64)> {
        let id = self.leader()?;
        let running = self.nodes.get(&id)?.running.as_ref()?;
        Some((id, running.replica.status().term))
    }

    /// The leader has answered. If it serves yet, nothing came of it: there is nobody else, or the transfer took too long.
    pub(super) fn transfer_was_answered(&mut self, id: NodeId) {
        let running = self.nodes.get(&id).and_then(|node| node.running.as_ref());
        if running.is_some_and(|running| running.replica.is_serving())
            && let Some(leaving) = self.leaving.take()
        {
            self.end_interregnum(&leaving);
        }
    }

    /// A node serves from now on, as the leader in this term.
    pub(super) fn succeed(&mut self, term: u64) {
        if let Some(leaving) = self.leaving.take_if(|leaving| leaving.term < term) {
            self.coverage.hit("leader replaced after healing");
            self.end_interregnum(&leaving);
        }
    }

    fn end_interregnum(&mut self, leaving: &Leaving) {
        let interregnum = Interregnum { began_at: leaving.asked_at, ended_at: self.now };
        self.history.interregna.push(interregnum);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{healing::WELL_AFTER, scenario::Scenario},
        *,
    };

    #[test]
    fn leaders_are_asked_to_go_after_the_comparison_and_before_clients_fall_silent() {
        for scenario in (0..60).map(Scenario::draw) {
            let Some(healed_at_ms) = scenario.healed_at_ms else {
                assert!(scenario.handovers.is_empty());
                continue;
            };
            let compared_at = Span::from_millis(healed_at_ms) + WELL_AFTER;
            let quiet_from = Span::from_millis(scenario.quiet_from_ms());
            let asked_at: Vec<_> =
                scenario.handovers.iter().map(|planned| Span::from_millis(planned.at_ms)).collect();
            assert!(asked_at.len() == 2 && asked_at[0] + Span::from_secs(2) <= asked_at[1]);
            assert!(compared_at < asked_at[0] && asked_at[1] < quiet_from);
        }
    }
}
