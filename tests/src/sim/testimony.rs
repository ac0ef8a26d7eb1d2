//! What nodes say of the entries that they apply. All but the first say the same, as a rule, so it is kept once: a run copies
//! a third of what it would, were each node to tell all of it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tollgate_server::raft::replica::Applied;

use crate::history::Entry;

/// What was said last of each entry, by whichever node. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    latest: Arc<Mutex<BTreeMap<u64, Arc<Entry>>>>,
}

impl Testimony {
    /// The entry as a history has it; shared with the node before, if that said the same.
    pub fn entry(&self, applied: Applied<'_>) -> Arc<Entry> {
        let mut latest = self.latest.lock();
        if let Some(known) = latest.get(&applied.index).filter(|known| is_same(known, &applied)) {
            return known.clone();
        }
        let entry = Arc::new(Entry {
            index: applied.index,
            term: applied.term,
            stamp: applied.entry.map(|entry| entry.stamp),
            commands: applied.entry.map(|entry| entry.commands.clone()).unwrap_or_default(),
            answers: applied.answers.to_vec(),
            digest: applied.digest,
        });
        latest.insert(applied.index, entry.clone());
        entry
    }
}

fn is_same(known: &Entry, applied: &Applied<'_>) -> bool {
    let Applied { index, term, entry, answers, digest } = *applied;
    (known.index, known.term, known.digest) == (index, term, digest)
        && known.stamp == entry.map(|entry| entry.stamp)
        && known.commands == entry.map_or(&[][..], |entry| &entry.commands)
        && known.answers == answers
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::Rejection;

    use super::*;

    #[test]
    fn only_what_is_the_same_is_shared() {
        let testimony = Testimony::default();
        let same = Applied { index: 2, term: 1, entry: None, answers: &[], digest: 7 };
        let first = testimony.entry(same);
        assert!(Arc::ptr_eq(&first, &testimony.entry(same)));
        for other in [
            Applied { term: 2, ..same },
            Applied { digest: 8, ..same },
            Applied { answers: &[Err(Rejection::ResourceNotFound)], ..same },
        ] {
            assert_ne!(first, testimony.entry(other));
            assert_eq!(first, testimony.entry(same));
        }
    }
}
