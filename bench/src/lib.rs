//! A load generator for a cluster: `tollgate bench`.
//!
//! What it measures is a ratio. The same machine is three times as fast in one minute as in the next when others share it,
//! so a figure alone says little. Beside the cluster stands a *floor*: a bare tonic server that answers the same messages
//! with the same bytes and decides nothing. Cluster and floor are loaded in turn, a second each, by the same code over the
//! same kind of connections, and of each pair only the quotient counts.
//!
//! Two loops. *Closed*: so many calls are open, and each answer starts the next; it finds the throughput. *Open*: calls start
//! at a fixed rate, whether or not others were answered, and latency counts from the moment at which a call was due: a server
//! that stalls cannot hide the calls that it kept from starting (coordinated omission; Gil Tene, "How NOT to Measure
//! Latency").
//!
//! The generator runs on one thread, so that on a small machine it takes no more from the nodes than it must; start several
//! where one does not saturate the cluster. It makes its own resources, and removes them, also when it is interrupted.

mod args;
mod calls;
mod cpu;
mod error;
mod floor;
mod open_loop;
mod plan;
mod prefetch;
mod progress;
mod report;
mod requests;
mod resources;
mod run;
mod side;
mod slice;
mod stream;
mod tally;

pub use args::Args;
pub use error::Error;
pub use floor::{Answers, Floor, FloorChild, serve_until_parent_ends};
pub use plan::{Calls, Cycle, Pace, Plan, Shape, Stream, Target};
pub use report::{Cpu, Ratio, Report, SideReport, median};
pub use run::run;
