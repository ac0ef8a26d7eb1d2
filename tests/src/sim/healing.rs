//! Nothing fails any more: everything is mended, and some time later the members are compared. What happens then is in
//! [`super::handovers`].

use tollgate_limiter::Span;
use tollgate_server::raft::replica::Event;

use crate::history::Comparison;

use super::{
    node::Process,
    world::{Planned, World},
};

/// How long after healing a cluster must be well.
pub(super) const WELL_AFTER: Span = Span::from_secs(10);

/// How long before that it is noted what has been applied, while clients go on asking. A follower that has lost a message is
/// there again after a few heartbeats, of 100 ms each. What takes longest is nothing that fails: a rolling restart that began
/// before healing may ask the leader to go right then. Should the message be lost that makes another voter stand for election,
/// it stops after a second, and somebody else stands within another one; that may take a second round.
const CATCHING_UP: Span = Span::from_secs(4);

/// How far the furthest member was.
pub(super) struct Progress {
    noted_at: Span,
    index: u64,
    // The processes of all members.
    processes: Vec<Process>,
}

impl World {
    /// Nothing fails any more from here on.
    pub(super) fn heal(&mut self) {
        self.trace.tell(self.now, || "everything is mended");
        self.is_healed = true;
        self.network.heal();
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.frozen_until = self.now;
                node.slow_until = (self.now, Span::ZERO);
                node.disk.mend();
            }
            self.handle(id, Event::DiskSpace { low: false });
            self.agenda.plan(self.now, Planned::Start(id));
        }
        let well_at = self.now + WELL_AFTER;
        self.agenda.plan(well_at.saturating_sub(CATCHING_UP), Planned::NoteProgress);
        self.agenda.plan(well_at, Planned::CompareProgress);
        self.plan_handovers();
    }

    pub(super) fn note_progress(&mut self) {
        let standings = self.standings();
        let Some(index) = standings.iter().map(|standing| standing.index).max() else { return };
        self.trace.tell(self.now, || format!("entry {index} is to be applied everywhere soon"));
        let processes = standings.iter().filter_map(|standing| self.process(standing.node)).collect();
        self.progress = Some(Progress { noted_at: self.now, index, processes });
    }

    /// Who has started, or become a member, in between is no part of it: the end of the run is early enough for those.
    pub(super) fn compare_progress(&mut self) {
        let Some(Progress { noted_at, index, processes }) = self.progress.take() else { return };
        let mut nodes = self.standings();
        nodes.retain(|standing| {
            self.process(standing.node).is_some_and(|process| processes.contains(&process))
        });
        self.history.comparison = Some(Comparison { noted_at, index, at: self.now, nodes });
    }
}
