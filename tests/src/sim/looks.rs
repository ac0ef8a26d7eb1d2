//! What processes have come to, recorded whenever they have acted.

use tollgate_limiter::Outcome;
use tollgate_server::raft::members::NodeId;

use crate::history::{Entry, Standing};

use super::{node::Running, words::brief_command, world::World};

impl World {
    /// Records what a process has applied since the last look, and whether it has come to lead.
    pub(super) fn look_at(&mut self, id: NodeId) {
        let now = self.now;
        let Some(running) = self.nodes.get_mut(&id).and_then(|node| node.running.as_mut()) else { return };
        let applied = running.take_applied();
        if let Some(last) = applied.last() {
            running.known_index = last.index;
        }
        let changed = running.take_changed_members();
        let restored = restored(running);
        let is_serving = running.replica.is_serving();
        let has_won = is_serving && !std::mem::replace(&mut running.was_serving, is_serving);
        running.was_serving = is_serving;
        let term = running.replica.status().term;
        let leads_in = running.replica.leads_in();
        for entry in applied {
            self.trace.fold(&[now.0, 4, id, entry.index, entry.digest]);
            self.trace.tell(now, || format!("node {id} applies {}", summary(&entry)));
            if entry.answers.iter().any(|answer| matches!(answer, Ok(Outcome::Kept))) {
                self.coverage.hit("grant kept for its retry");
            }
            self.history.apply(now, id, entry);
        }
        if let Some(members) = changed.filter(|_| leads_in.is_some())
            && self.network.is_cut_among(now, |id| members.by_id.contains_key(&id))
        {
            self.coverage.hit("membership change committed while a link is cut");
        }
        if let Some((index, digest)) = restored {
            self.coverage.hit("snapshot installed");
            self.trace.tell(now, || format!("node {id} takes over a snapshot at entry {index}"));
            self.history.restore(Standing { at: now, node: id, index, digest });
        }
        if has_won {
            self.coverage.hit("election won");
            self.trace.tell(now, || format!("node {id} leads in term {term}"));
            self.succeed(term);
        }
        if leads_in.is_some_and(|term| self.history.lead(id, term)) {
            self.interrupt_election(id);
        }
    }
}

fn summary(entry: &Entry) -> String {
    let at = entry.stamp.map(|stamp| stamp.cluster).unwrap_or_default();
    let results = entry.commands.iter().zip(&entry.answers).map(|(command, answer)| {
        let result = match answer {
            Ok(Outcome::Granted(grant)) => format!("permit {}", grant.permit.0),
            Ok(Outcome::Denied(_)) => "denied".to_owned(),
            Ok(_) => "done".to_owned(),
            Err(rejection) => format!("{rejection:?}"),
        };
        format!("; {}: {result}", brief_command(command))
    });
    let (at, results) = (at.0 as f64 / 1e9, results.collect::<String>());
    format!("entry {} of term {} at cluster time {at:.4} s{results}", entry.index, entry.term)
}

/// Where the state stands, if it was replaced by a snapshot's since the last look.
fn restored(running: &mut Running) -> Option<(u64, u64)> {
    let machine = running.replica.machine();
    let (index, digest) = (machine.index(), machine.digest());
    let has_jumped = index > std::mem::replace(&mut running.known_index, index);
    has_jumped.then_some((index, digest))
}
