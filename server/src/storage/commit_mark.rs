//! A second witness of how long the log is.
//!
//! A log that ends early looks like a log whose end was torn by a crash, and is cut there; but damage to a record in its
//! last file looks the same, and cutting there would forget what was acknowledged. So now and then, beside the log, a
//! small file says which entry was committed and durable. Committed entries never go away: a log that ends before that
//! one has lost something, and the node must not vote with it.
//!
//! The file is a hint: it is not synced, and one that cannot be read proves nothing.

use std::{fs, io, path::PathBuf};

use tollgate_limiter::Span;

/// How long the file may be behind.
const INTERVAL: Span = Span::from_secs(1);

/// The file, and when it was last written.
#[derive(Debug)]
pub struct CommitMark {
    path: PathBuf,
    written: Option<(u64, Span)>,
}

impl CommitMark {
    /// The witness in the file at `path`, which need not exist.
    pub fn new(path: PathBuf) -> CommitMark {
        CommitMark { path, written: None }
    }

    /// The entry that was committed and durable here, as far as is known.
    pub fn read(&self) -> u64 {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// Entries up to `commit` are committed, and durable. Written at most once an interval.
    pub fn advance(&mut self, commit: u64, now: Span) -> io::Result<()> {
        let is_due = self.written.is_none_or(|(last, at)| commit > last && now.0 >= at.0 + INTERVAL.0);
        if is_due {
            let temporary = self.path.with_extension("tmp");
            fs::write(&temporary, format!("{commit}\n"))?;
            fs::rename(&temporary, &self.path)?;
            self.written = Some((commit, now));
        }
        Ok(())
    }
}
