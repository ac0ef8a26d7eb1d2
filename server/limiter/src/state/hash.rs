//! Hashes by which tables are kept that nobody sees the order of.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The same in every process, though nothing depends on it: hashes are not encoded.
pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
