//! What a node keeps on its disk: who it is, its log, its last snapshot.
//!
//! **Invariant:** a write or fsync that fails stops the process, and is never tried again: after a failed fsync the
//! kernel may have dropped the pages and say so only once (Rebello et al., "Can Applications Recover from fsync
//! Failures?", ATC 2020).

pub mod data_dir;
