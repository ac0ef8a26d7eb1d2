//! What became of a record that was not taken.

use std::{error, fmt, sync::Arc};

use crate::call::CallError;

/// Why there is no result for a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum BatchError<E, C> {
    /// The vendor took the batch, and refused this record.
    Record(E),
    /// The batch failed as a whole, with all of its records.
    Batch(Arc<CallError<C>>),
    /// The vendor's answer has another number of results than the batch has records, so nobody knows which is whose.
    #[non_exhaustive]
    Mismatched {
        /// Records that were sent.
        records: usize,
        /// Results that came back.
        results: usize,
    },
    /// The batcher was closed before: the record was not sent.
    Closed,
    /// Sending the batch panicked, or the runtime ended meanwhile: the record may have been sent.
    Aborted,
}

impl<E: fmt::Display, C: fmt::Display> fmt::Display for BatchError<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Record(error) => error.fmt(f),
            BatchError::Batch(error) => write!(f, "the batch failed: {error}"),
            BatchError::Mismatched { records, results } => {
                write!(f, "the vendor answered {results} results to a batch of {records} records")
            }
            BatchError::Closed => f.write_str("the batcher is closed"),
            BatchError::Aborted => f.write_str("sending the batch was aborted"),
        }
    }
}

impl<E: error::Error + 'static, C: error::Error + 'static> error::Error for BatchError<E, C> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            BatchError::Record(error) => Some(error),
            BatchError::Batch(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
