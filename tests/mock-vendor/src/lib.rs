//! A vendor of one's own: an HTTP server that counts and refuses calls as HubSpot, Salesforce, Salesloft and Apollo say that
//! they do, and remembers every call, so that a test can ask the *vendor* how a fleet behaved.
//!
//! It is written from what the vendors document and shares no code with the limiter. Where the documentation leaves something
//! open, the reading is taken that is hardest on callers:
//!
//! * A rolling window is exact, and both its ends belong to it: of any two calls at most a window apart, both count.
//! * Salesloft's minute, whose beginning nobody documents, is any minute.
//! * A call counts when it arrives, and one that runs goes on when its caller hangs up: killing a worker frees nothing here.
//!
//! Two things are lenient because the documentation says nothing: a refused call spends nothing, and is answered at once.
//!
//! Real limits take minutes and days to show. [`Profile::faster`] lets the vendor's clock run faster: all its windows, and the
//! time that calls take, become shorter by the same factor, and all amounts stay.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use tollgate_mock_vendor::{HubSpot, MockVendor};
//!
//! let vendor = MockVendor::start(HubSpot::PROFESSIONAL.into()).await?;
//! // … let a fleet call `vendor.url()` …
//! let ledger = vendor.ledger();
//! println!("{} calls, {} refused", ledger.calls.len(), ledger.refused().count());
//! # Ok(()) }
//! ```
//!
//! Calls look as they do for the vendor; what decides is told with each profile. Three headers are for callers in tests:
//! [`TAKES_HEADER`] says how long the call is to take, [`LABEL_HEADER`] is a word by which the ledger knows it again, and
//! [`BEFORE_HEADER`] tells the ledger before when the caller means it to arrive.

mod account;
mod call;
mod ledger;
mod limit;
mod profile;
mod serve;
#[cfg(test)]
mod tests;
mod traffic;
mod vendor;

pub use account::{apollo::Apollo, hubspot::HubSpot, salesforce::Salesforce, salesloft::Salesloft};
pub use call::{BEFORE_HEADER, LABEL_HEADER, TAKES_HEADER};
pub use ledger::{Answer, Call, Ledger};
pub use profile::{Profile, Rules};
pub use vendor::{MockVendor, Outage, Tightening};
