//! What can go wrong, typed by what the caller can do next.

use std::{fmt, time::Duration};

use tonic::{Code, Status};

use crate::{denial::Denial, permit::Unusable};

/// Why there is no answer, or not the one that was wished for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A limit has no room, or an operator stopped it. Nothing was debited: ask again after [`Denial::retry_after`].
    #[error("{0}")]
    Denied(Box<Denial>),

    /// The permit may not be used any more (or not for a dispatch): stop, and acquire another one.
    #[error(transparent)]
    Unusable(#[from] Unusable),

    /// The permit was released or ran out before. It never revives: stop using it.
    #[error("{message}")]
    PermitEnded {
        /// The server's words.
        message: String,
    },

    /// The request is wrong, and nothing was changed: correct the fields that are named.
    #[error("{}", Invalid { message, violations })]
    Invalid {
        /// The server's words.
        message: String,
        /// Which fields, and what is allowed there.
        violations: Vec<Violation>,
    },

    /// There is no such resource, permit or member; `reason` says which, such as `RESOURCE_NOT_FOUND`.
    #[error("{message}")]
    NotFound {
        /// For programs.
        reason: String,
        /// The server's words.
        message: String,
    },

    /// What there is stands in the way: it exists already, somebody else changed it, the request id had another body.
    /// Read again, then decide; `reason` says what it is, such as `STALE_GENERATION`.
    #[error("{message}")]
    Conflict {
        /// For programs.
        reason: String,
        /// The server's words.
        message: String,
    },

    /// The servers had too much to do, until the deadline. Nothing was changed: slow down.
    #[error("{message}")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
        /// The server's words.
        message: String,
    },

    /// As many requests as the resource allows wait already, or as many of this consumer: nothing was changed. The client
    /// asked again until the deadline, after what the server told it to wait each time.
    #[error("{message}")]
    QueueFull {
        /// When to try again. Random in part, so that those who are refused together do not come back together.
        retry_after: Duration,
        /// The server's words, which name whose queue it is.
        message: String,
    },

    /// No node could answer until the deadline. Nothing was changed: try again later. `reason` is the last node's, such as
    /// `STORAGE_FULL`.
    #[error("no node can answer: {message}")]
    Unavailable {
        /// For programs; empty when no node could be asked.
        reason: String,
        /// What the last try failed with.
        message: String,
    },

    /// The deadline passed, or the connection broke, while the outcome was open: it may have taken effect.
    #[error("the outcome is not known: {message}{}", Remedy(request_id))]
    OutcomeUnknown {
        /// Ask again with this [`request_id`](crate::Acquire::request_id) to learn the outcome without spending twice.
        request_id: Option<String>,
        /// What the last try failed with.
        message: String,
    },

    /// Anything else.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Other(Box<Status>),
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Its path in the request, such as `resource.limits[0].name`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub description: String,
}

impl Error {
    /// Whether the same call may succeed later without anything being corrected.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Error::Denied(_)
                | Error::Overloaded { .. }
                | Error::QueueFull { .. }
                | Error::Unavailable { .. }
                | Error::OutcomeUnknown { .. }
        )
    }

    /// Something that this client itself finds wrong with a request.
    pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Error {
        let violations = vec![Violation { field: field.to_owned(), description: description.into() }];
        Error::Invalid { message: "invalid request".to_owned(), violations }
    }

    /// An answer without what the API promises in it.
    pub(crate) fn incomplete(message: &'static str) -> Error {
        Error::Other(Box::new(Status::new(Code::Internal, format!("incomplete answer: no {message}"))))
    }

    /// Names the request id with which an unknown outcome can be learnt.
    pub(crate) fn with_request_id(self, id: &str) -> Error {
        match self {
            Error::OutcomeUnknown { message, .. } => {
                Error::OutcomeUnknown { request_id: Some(id.to_owned()), message }
            }
            other => other,
        }
    }
}

struct Invalid<'a> {
    message: &'a str,
    violations: &'a [Violation],
}

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violations.is_empty() {
            return f.write_str(self.message);
        }
        for (i, Violation { field, description }) in self.violations.iter().enumerate() {
            write!(f, "{}{field}: {description}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

struct Remedy<'a>(&'a Option<String>);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "; try again with request id {id}"),
            None => Ok(()),
        }
    }
}
