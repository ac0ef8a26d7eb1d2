//! What Raft hands out, and the moment at which each part may leave.
//!
//! A leader's messages leave at once: followers write while it writes (Ongaro's dissertation, 10.2.1). Everybody else's
//! promise something about the own disk, and leave when all writes that came before them are durable.

use std::collections::VecDeque;

use raft::{
    Ready,
    eraftpb::{Message, MessageType},
};

use crate::{clock::Reading, storage::WriteBatch};

use super::{super::fatal::Fatal, Effect, Replica};

/// Writes on their way to the disk, and what waits for them.
#[derive(Default)]
pub(super) struct Writes {
    waiting: VecDeque<Waiting>,
    // A compaction is written with the next batch.
    pub compact: Option<crate::storage::Mark>,
}

struct Waiting {
    number: u64,
    // Some of Raft's steps have nothing to write, but must keep the order.
    is_written: bool,
    messages: Vec<Message>,
}

impl Writes {
    /// How many are not durable yet.
    pub fn open(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.is_written).count()
    }

    /// Whether any is not durable yet.
    pub fn are_open(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the step can be followed: its write is durable, or it had none.
    fn take_done(&mut self, persisted: u64) -> Option<Waiting> {
        self.waiting.front().filter(|waiting| waiting.number <= persisted || !waiting.is_written)?;
        self.waiting.pop_front()
    }
}

impl<C> Replica<C> {
    /// Takes everything that Raft has ready. What was committed is put aside: it is applied when all else is on its way.
    pub(super) fn drain_ready(&mut self, now: Reading) -> Result<(), Fatal> {
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.fix_election_timeout();
            self.process(ready, now)?;
            self.follow_leadership(now);
        }
        self.write_compaction();
        Ok(())
    }

    fn process(&mut self, mut ready: Ready, now: Reading) -> Result<(), Fatal> {
        self.send(ready.take_messages());
        let read_states = ready.take_read_states();
        let mut committed = ready.take_committed_entries();
        match self.committed.is_empty() {
            true => self.committed = committed,
            false => self.committed.append(&mut committed),
        }
        let messages = ready.take_persisted_messages();
        let batch = self.write_batch(&mut ready, now)?;
        // From here on Raft reads the entries from the log: they are there, if not yet on the disk.
        self.node.advance_append_async(ready);
        self.confirm_reads(read_states);
        self.await_write(batch, messages);
        Ok(())
    }

    /// What of the step must become durable. A commit index alone need not: it is found again.
    fn write_batch(&mut self, ready: &mut Ready, now: Reading) -> Result<WriteBatch, Fatal> {
        let mut batch = WriteBatch { number: ready.number(), ..WriteBatch::default() };
        if !ready.snapshot().is_empty() {
            // Raft accepted it when it came, and by then all that had been committed was applied.
            debug_assert!(
                self.committed.is_empty(),
                "a snapshot does not come with entries to be applied before it"
            );
            batch.install = Some(self.install_snapshot(ready.number(), now)?);
        }
        batch.entries = ready.take_entries();
        self.node.mut_store().append(batch.entries.clone());
        self.arrivals.note(&batch.entries, now.monotonic);
        if ready.must_sync() {
            batch.hard_state = Some(ready.hs().cloned().unwrap_or_else(|| self.node.raft.hard_state()));
            batch.compact = self.writes.compact.take();
        }
        Ok(batch)
    }

    fn await_write(&mut self, batch: WriteBatch, messages: Vec<Message>) {
        let (number, is_written) = (batch.number, !batch.is_empty());
        self.writes.waiting.push_back(Waiting { number, is_written, messages });
        if is_written {
            self.effects.push(Effect::Write(batch));
        }
        // Nothing is persisted by this, but a step without a write need not wait behind nothing.
        self.finish_writes(0);
    }

    /// Everything up to this number is durable.
    pub(super) fn persisted(&mut self, number: u64) {
        self.finish_writes(number);
    }

    fn finish_writes(&mut self, persisted: u64) {
        let mut last = None;
        while let Some(done) = self.writes.take_done(persisted) {
            last = Some(done.number);
            self.send(done.messages);
        }
        if let Some(number) = last {
            self.node.on_persist_ready(number);
            if let Some(index) = self.snapshots.installed(number) {
                self.node.advance_apply_to(index);
            }
        }
    }

    /// A compaction waits for no entry when nothing else is being written: an idle log should shrink, too.
    fn write_compaction(&mut self) {
        if !self.writes.are_open()
            && let Some(mark) = self.writes.compact.take()
        {
            let hard_state = Some(self.node.raft.hard_state());
            // Raft does not wait for it: it has the number of the step before it.
            self.effects.push(Effect::Write(WriteBatch {
                compact: Some(mark),
                hard_state,
                ..WriteBatch::default()
            }));
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let effect = match message.get_msg_type() {
                MessageType::MsgSnapshot => {
                    self.snapshot_is_sent(message.to);
                    let index = message.get_snapshot().get_metadata().index;
                    Effect::SendSnapshot { message, index }
                }
                _ => Effect::Send(message),
            };
            self.effects.push(effect);
        }
    }
}
