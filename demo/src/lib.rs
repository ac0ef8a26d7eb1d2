//! What Tollgate is for, in a minute: one fleet of workers calls a vendor twice, first with what most fleets have (tries again,
//! each worker for itself, with exponential backoff and jitter), then with a permit for each call.
//!
//! The vendor is [`tollgate_mock_vendor`], strict and with a faster clock. Both runs have the same workers, the same work, the
//! same outage in the middle, and begin in the same way: the workers come up one after the other, over one of the vendor's
//! windows, so that the runs differ by what the fleets do and not by their first second.
//!
//! A tenth of the workers does interactive work: one call, then a pause. The others have bulk work without end. Without permits
//! nobody can go first; that is one of the things to see.
//!
//! The [`Crew`] is of use elsewhere, too: the end to end tests run it in several processes.

mod args;
mod backoff;
mod crew;
mod error;
mod figures;
mod run;
mod scene;
mod tally;
mod vendor_client;
mod worker;

pub use args::Args;
pub use crew::{Crew, Shift};
pub use error::Error;
pub use figures::{Comparison, Figures};
pub use run::{Plan, compare};
pub use scene::{Scene, Task, Vendor};
pub use tally::Tally;
pub use vendor_client::{Reply, VendorClient};
pub use worker::Style;
