//! Committed entries into the machine, its answers to those who wait.

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::{
    StateRole,
    eraftpb::{ConfChangeV2, EntryType},
};
use tollgate_limiter::{Answer, Command, ResourceName, Span};

use crate::clock::Reading;

use super::{
    super::{
        call::{MemberChange, MemberRefusal, Reply},
        cluster_time::Stamped,
        entry::{Change, Entry},
        fatal::Fatal,
        machine::Registered,
    },
    Effect, Replica,
    leadership::Proposal,
};

impl<C> Replica<C> {
    /// Applies committed entries, in order. Returns whether there were any.
    pub(super) fn apply_committed(&mut self, now: Reading) -> Result<bool, Fatal> {
        let Some(last) = self.committed.last().map(|entry| entry.index) else { return Ok(false) };
        for entry in std::mem::take(&mut self.committed) {
            let position = (entry.index, entry.term);
            let came_at = self.arrivals.take(entry.index).unwrap_or(now.monotonic);
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => self.apply_nothing(position),
                EntryType::EntryNormal => self.apply_entry(position, &entry.data, came_at, now)?,
                EntryType::EntryConfChangeV2 => self.apply_change(position, &entry.data)?,
                EntryType::EntryConfChange => return Err(unknown(entry.index, "a change of the first kind")),
            }
            self.digests.record(entry.index, self.machine.digest())?;
            self.finish_change(entry.index);
        }
        self.node.advance_apply_to(last);
        self.follow_leadership(now);
        Ok(true)
    }

    /// A new leader's first entry, or a change of the configuration that Raft made void.
    fn apply_nothing(&mut self, position: (u64, u64)) {
        self.machine.skip(position);
        self.testify(position, None, &[]);
        self.void_change(position.0);
    }

    fn apply_entry(
        &mut self,
        position: (u64, u64),
        data: &[u8],
        came_at: Span,
        now: Reading,
    ) -> Result<(), Fatal> {
        let (index, term) = position;
        let proposal = self.leadership.as_mut().and_then(|leadership| leadership.take_proposal(position));
        let decoded;
        let entry = match &proposal {
            Some(proposal) => {
                debug_assert_eq!(Entry::decode(data).as_ref(), Ok(&proposal.entry), "of this very term");
                &proposal.entry
            }
            None => {
                decoded = Entry::decode(data).map_err(|reason| unknown(index, reason))?;
                &decoded
            }
        };
        let members = self.machine.members().clone();
        let mut answers = std::mem::take(&mut self.answers);
        let mut registered = Vec::new();
        let freed = self.freed_by(entry);
        self.machine.apply(position, entry, &mut answers, &mut registered);
        self.wake(entry, &freed);
        self.testify(position, Some(entry), &answers);
        self.tell_turns(index);
        let removed = removed(entry, &answers);
        let is_of_this_term = term == self.node.raft.term;
        let was_stamped_here = is_of_this_term && self.node.raft.state == StateRole::Leader;
        if !was_stamped_here {
            self.clock.follow(Stamped {
                state: self.machine.limiter().now(),
                term: Some(term),
                before: came_at,
                is_present: is_of_this_term && index > self.last_of_the_past,
            });
        }
        if let Some(proposal) = proposal {
            self.answer(proposal, &mut answers, registered, now);
        }
        answers.clear();
        self.answers = answers;
        // After the answers, which may be about them, too.
        self.effects.extend(removed.into_iter().map(Effect::ResourceGone));
        if *self.machine.members() != members {
            self.effects.push(Effect::Members(self.machine.members().clone()));
        }
        Ok(())
    }

    /// One node's log tells of circuits, and only of what happens now.
    fn tell_turns(&mut self, index: u64) {
        if self.leadership.is_some() && index > self.last_of_the_past {
            let turned = self.machine.limiter().turned().iter().cloned();
            self.effects.extend(turned.map(|turn| Effect::CircuitTurned(Box::new(turn))));
        }
    }

    fn answer(
        &mut self,
        proposal: Proposal<C>,
        answers: &mut Vec<Answer>,
        registered: Vec<Registered>,
        now: Reading,
    ) {
        let after = Span(now.monotonic.0.saturating_sub(proposal.proposed_at.0));
        self.effects.push(Effect::Committed { commands: answers.len() as u64, after });
        if let Some(leadership) = &mut self.leadership {
            leadership.waiters.stir();
        }
        self.effects.reserve(answers.len());
        // From here on an answer goes from hand to hand: it is moved once, into a box.
        for (answer, waiting) in answers.drain(..).zip(proposal.waiting) {
            if let Some(waiting) = waiting {
                self.decided(Box::new(answer), waiting, now);
            }
        }
        for (registered, caller) in registered.into_iter().zip(proposal.registering) {
            if let Some(caller) = caller {
                self.reply(caller, Ok(Reply::Changed(registration_result(registered))));
            }
        }
    }

    fn apply_change(&mut self, position: (u64, u64), data: &[u8]) -> Result<(), Fatal> {
        // Raft leaves a joint configuration by an empty change.
        let raft_change: ConfChangeV2 =
            ConfChangeV2::parse_from_bytes(data).map_err(|e| unknown(position.0, e))?;
        let context = raft_change.get_context();
        let change: Option<Change> = match context.is_empty() {
            true => None,
            false => Some(minicbor::decode(context).map_err(|e| unknown(position.0, e))?),
        };
        let conf_state = self.node.apply_conf_change(&raft_change)?;
        let was_member = self.machine.has_node(self.config.id);
        self.machine.reconfigure(position, change, &conf_state);
        self.testify(position, None, &[]);
        if was_member && !self.machine.has_node(self.config.id) {
            // The answer to whoever asked for it may pass through here: the links stay until the end.
            self.removed_at = Some(self.ticks);
            if self.node.raft.state == StateRole::Leader {
                // It came to lead after another leader had proposed this. Raft would panic at the next entry of its own
                // that becomes durable: it has no progress of its own any more.
                self.node.raft.become_follower(self.node.raft.term, raft::INVALID_ID);
            }
            return Ok(());
        }
        self.effects.push(Effect::Members(self.machine.members().clone()));
        Ok(())
    }
}

/// The resources that an entry removed, and did not make again.
fn removed(entry: &Entry, answers: &[Answer]) -> BTreeSet<ResourceName> {
    let mut removed = BTreeSet::new();
    for (command, _) in entry.commands.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
        match command {
            Command::DeleteResource(removal) => _ = removed.insert(removal.name.clone()),
            Command::CreateResource(resource) => _ = removed.remove(&resource.name),
            _ => {}
        }
    }
    removed
}

fn registration_result(registered: Registered) -> Result<MemberChange, MemberRefusal> {
    match registered {
        Registered::Recorded => Ok(MemberChange::Registered),
        Registered::Differs(id) => Err(MemberRefusal::WipedData(id)),
        Registered::NoMember(id) => Err(MemberRefusal::NotFound(id)),
    }
}

fn unknown(index: u64, reason: impl ToString) -> Fatal {
    Fatal::UnknownEntry { index, reason: reason.to_string() }
}
