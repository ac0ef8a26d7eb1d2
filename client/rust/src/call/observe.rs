//! What came of a call, as far as it matters for limits and for whether to try again.

use std::{convert::Infallible, error, io, iter};

use tollgate_proto::v1::Outcome;

use crate::answer::Answer;

/// What came of one call to a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The vendor answered, whatever it said.
    Answered(Answer),
    /// The vendor did not answer, or not in time, or the connection broke: it may have carried the call out.
    Unanswered,
    /// Nobody answered at the vendor's address: the connection was refused, the name is not known, or connecting took too long.
    /// Nothing was sent, so the call may be made again whether or not it is idempotent. It is told as a failure of the vendor, so
    /// that the circuit opens for the whole fleet. Its permit does not go back: whatever stands at that address may have counted
    /// the attempt, and who is not reached is not to be called more often for it.
    Unreached,
    /// The caller did not make the call, as when its permit left too little time: it certainly never left, and says nothing of the
    /// vendor. Its permit goes back, and it may be made again whether or not it is idempotent.
    Unsent,
    /// The call was not needed any more when it was its turn: its permit goes back, and nothing is tried again.
    Unneeded,
    /// Something else than the vendor failed, such as this program in reading the answer: nothing is tried again.
    Failed,
}

/// Something that tells what came of a call: the answer of an HTTP client, or its error. Implemented for `http::Response`; with the
/// feature `reqwest` for its responses and errors; for [`Answer`] and [`Observation`], with any value beside them; and for `Result`s of
/// those. Where a vendor says in the body why it refused a call, as Salesforce, Google and Shopify do, hand back
/// `(Answer, response)` with the [body](Answer::body) in the answer: a response alone tells its status and headers only.
///
/// ```
/// use tollgate_client::{Answer, Observation, Observe};
///
/// enum CrmError {
///     Http(Answer),
///     Connect,
///     Timeout,
///     Parse(String),
/// }
///
/// impl Observe for CrmError {
///     fn observe(&self) -> Observation {
///         match self {
///             CrmError::Http(answer) => Observation::Answered(answer.clone()),
///             CrmError::Connect => Observation::Unreached,
///             CrmError::Timeout => Observation::Unanswered,
///             CrmError::Parse(_) => Observation::Failed,
///         }
///     }
/// }
/// ```
pub trait Observe {
    /// What came of it.
    fn observe(&self) -> Observation;
}

impl Observation {
    /// In the words of the server.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Observation::Answered(answer) => match answer.status() {
                429 => Outcome::Throttled,
                400..=499 => Outcome::ClientError,
                500.. => Outcome::ServerError,
                _ => Outcome::Ok,
            },
            Observation::Unanswered => Outcome::Timeout,
            Observation::Unreached => Outcome::ServerError,
            Observation::Unsent | Observation::Unneeded => Outcome::NotSent,
            // It says nothing of the vendor, neither good nor bad.
            Observation::Failed => Outcome::Unknown,
        }
    }
}

impl Observe for Observation {
    fn observe(&self) -> Observation {
        self.clone()
    }
}

impl Observe for Answer {
    fn observe(&self) -> Observation {
        Observation::Answered(self.clone())
    }
}

impl<T> Observe for (Answer, T) {
    fn observe(&self) -> Observation {
        self.0.observe()
    }
}

impl<T> Observe for (Observation, T) {
    fn observe(&self) -> Observation {
        self.0.clone()
    }
}

/// The status and the headers. The body has to be read by whoever wants its code known: [`Answer::body`].
impl<T> Observe for http::Response<T> {
    fn observe(&self) -> Observation {
        Observation::Answered(Answer::of(self.status(), self.headers()))
    }
}

impl<T: Observe, E: Observe> Observe for Result<T, E> {
    fn observe(&self) -> Observation {
        match self {
            Ok(value) => value.observe(),
            Err(error) => error.observe(),
        }
    }
}

/// Of an error that nobody knows anything about it is not known whether the vendor carried the call out, unless it comes of a connection
/// that was refused. Services of `tower` have such errors.
impl Observe for Box<dyn error::Error + Send + Sync> {
    fn observe(&self) -> Observation {
        if is_refused_connection(self.as_ref()) { Observation::Unreached } else { Observation::Unanswered }
    }
}

/// Other errors of the system may come in the middle of a call.
fn is_refused_connection(error: &(dyn error::Error + 'static)) -> bool {
    iter::successors(Some(error), |cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

impl Observe for Infallible {
    fn observe(&self) -> Observation {
        match *self {}
    }
}
