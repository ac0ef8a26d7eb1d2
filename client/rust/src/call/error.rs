//! Why a call came to nothing.

use std::{error, fmt, time::Duration};

use crate::{answer::Answer, error::Error};

/// Why a call came to nothing, after so many tries.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E> {
    /// There was no permit, so the vendor was not called, or not again.
    #[non_exhaustive]
    NoPermit {
        /// Why.
        error: Error,
        /// How often the vendor was called before.
        tries: u32,
    },
    /// The call failed for good, or too often.
    #[non_exhaustive]
    Failed {
        /// With what it failed last.
        error: E,
        /// How often the vendor was called.
        tries: u32,
    },
    /// The vendor refused it for a limit each time, whatever the status: Shopify says 200. It was not carried out.
    #[non_exhaustive]
    Limited {
        /// What the vendor answered last.
        answer: Box<Answer>,
        /// How often the vendor was called.
        tries: u32,
    },
    /// The vendor took too long, and was not called again. It may have carried the call out.
    #[non_exhaustive]
    TimedOut {
        /// How long the last try was given.
        after: Duration,
        /// How often the vendor was called.
        tries: u32,
    },
    /// The permit's lease was lost while the call was under way, so it was stopped. It may have been carried out.
    #[non_exhaustive]
    LeaseLost {
        /// How often the vendor was called.
        tries: u32,
    },
}

impl<E> CallError<E> {
    /// How often the vendor was called.
    pub fn tries(&self) -> u32 {
        match *self {
            CallError::NoPermit { tries, .. }
            | CallError::Failed { tries, .. }
            | CallError::Limited { tries, .. }
            | CallError::TimedOut { tries, .. }
            | CallError::LeaseLost { tries } => tries,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoPermit { error, tries: 0 } => write!(f, "no permit: {error}"),
            CallError::NoPermit { error, tries } => {
                write!(f, "no permit for another try after {tries}: {error}")
            }
            CallError::Failed { error, tries: 1 } => error.fmt(f),
            CallError::Failed { error, tries } => write!(f, "failed in {tries} tries: {error}"),
            CallError::Limited { answer, tries } => write!(f, "refused for a limit, try {tries}: {answer}"),
            CallError::TimedOut { after, tries } => write!(f, "no answer within {after:?}, try {tries}"),
            CallError::LeaseLost { tries } => write!(f, "stopped: the permit's lease was lost, try {tries}"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            CallError::NoPermit { error, .. } => Some(error),
            CallError::Failed { error, .. } => Some(error),
            CallError::Limited { answer, .. } => Some(answer.as_ref()),
            CallError::TimedOut { .. } | CallError::LeaseLost { .. } => None,
        }
    }
}
