//! Tollgate's client: asks for permits before calls to rate-limited vendor APIs.
//!
//! ```no_run
//! use std::time::Duration;
//! use tollgate_client::{Client, Error, Outcome};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::connect(["127.0.0.1:7600", "127.0.0.1:7610", "127.0.0.1:7620"])?;
//!
//! match client.acquire("salesforce/acme").operation("query").consumer("crm-sync").await {
//!     Ok(permit) => {
//!         permit.ensure_usable()?; // right before the vendor is called
//!         // … call the vendor, with the credential `permit.key()` …
//!         permit.release().outcome(Outcome::Ok).await?;
//!     }
//!     Err(Error::Denied(denial)) => println!("{denial}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whoever calls a vendor over HTTP need not do all that: [`Limiter::call`] does, and tries again where that makes sense;
//! [`Batcher`] and [`Pipeline`] are built on it, and with the features `tower` and `reqwest` so are a layer and a middleware for code
//! that is there already.
//!
//! What the client does by itself:
//!
//! * It asks the leader directly, as the answers name it, and turns to another node when one fails.
//! * It waits for its turn at the server, if told to ([`Acquire::wait_up_to`]), and keeps it when the leader changes.
//! * It retries inside the deadline with the same request id, so that a retry never spends twice. A call that must
//!   not be repeated ([`Resources::create`] and the like) is tried again only if it was certainly not carried out.
//! * It takes permits in advance, if told to ([`Acquire::prefetch`]), and hands them out without asking.
//! * It lets one of many that want the same make the call, if told to ([`Acquire::coalesce`]), and hands its result to the others.
//! * It renews the lease of a permit that holds a slot, releases it when the [`Permit`] is dropped, and refuses a
//!   permit whose lease may have ended ([`Permit::ensure_usable`]).
//!
//! **The clock rule.** Durations from the server count from the moment the request was first sent (and the time on top
//! that it waited for its turn), on this machine's monotonic clock, shortened by one part in [`CLOCK_RATE_TOLERANCE`]
//! because the two clocks may run at different rates. The client therefore always stops before the server gives the slot to somebody else.

mod acquire;
mod administration;
mod alternative;
mod answer;
mod attempt;
mod batch;
mod call;
mod client;
mod coalesce;
mod condition;
mod decide;
mod denial;
mod duration;
mod each;
mod error;
mod fault;
mod feedback;
#[cfg(feature = "tower")]
mod layer;
mod lease;
#[cfg(feature = "reqwest")]
mod middleware;
mod nodes;
mod permit;
mod pipeline;
mod planning;
mod prefetch;
mod release;
mod renew;
mod stream;

pub use acquire::Acquire;
pub use administration::{Cluster, Resources};
pub use alternative::Alternative;
pub use answer::Answer;
pub use batch::{BatchBounds, BatchError, BatchReply, Batcher};
#[cfg(any(feature = "reqwest", feature = "tower"))]
pub use call::CallRules;
pub use call::{
    CALL_TIMEOUT_DEFAULT, CALL_WAIT_DEFAULT, CallError, IntoAcquire, Limiter, Observation, Observe,
    PATIENCE_DEFAULT, Retries, Unanswered,
};
pub use client::{Client, DEADLINE_DEFAULT, DEADLINE_MAX, NODES_DEFAULT, NODES_VARIABLE};
pub use coalesce::{Coalesce, Coalesced, SharedResult};
pub use condition::{CircuitStatus, PaceStatus};
pub use denial::{BudgetCause, Denial, DenialReason, Exhausted, Pause};
pub use each::BATCH_MAX;
pub use error::{Error, Violation};
pub use feedback::{Report, Understood};
#[cfg(feature = "tower")]
pub use layer::{PermitLayer, PermitService};
pub use lease::CLOCK_RATE_TOLERANCE;
#[cfg(feature = "reqwest")]
pub use middleware::PermitMiddleware;
pub use permit::{Permit, Unusable};
pub use pipeline::{DeadLetter, Failure, Pipeline, Progress};
pub use prefetch::{Prefetch, PrefetchBounds, Prefetched};
pub use release::{Release, Released};
pub use renew::Renew;
pub use stream::PermitStream;

/// The public API as it is on the wire: what the administration speaks, and what gives access to all of it.
pub use tollgate_proto::v1;
/// Whether a circuit lets permits through.
pub use tollgate_proto::v1::CircuitState;
/// How a vendor call ended.
pub use tollgate_proto::v1::Outcome;
/// What a pace comes of.
pub use tollgate_proto::v1::PaceCause;
/// How urgent a request is.
pub use tollgate_proto::v1::Priority;
