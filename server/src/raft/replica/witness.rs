//! What a simulation sees of the entries that are applied: checkers compare the nodes, and judge the log by a model of
//! their own. A node that serves has no witness.

use tollgate_limiter::Answer;

use super::{super::entry::Entry, Replica};

/// An entry that was applied, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Its place in the log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it carries; nothing in a new leader's first entry and in changes of the membership.
    pub entry: Option<&'a Entry>,
    /// One for each command.
    pub answers: &'a [Answer],
    /// The digest of the state after it.
    pub digest: u64,
}

/// Hears of every entry that is applied, in order.
pub type Witness = Box<dyn FnMut(Applied<'_>) + Send>;

impl<C> Replica<C> {
    /// From now on, `witness` hears of every entry that is applied here. An installed snapshot is none: the index jumps.
    pub fn attend(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    pub(super) fn testify(&mut self, (index, term): (u64, u64), entry: Option<&Entry>, answers: &[Answer]) {
        let digest = self.machine.digest();
        if let Some(witness) = &mut self.witness {
            witness(Applied { index, term, entry, answers, digest });
        }
    }
}
