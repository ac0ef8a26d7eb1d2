//! What is replicated: resources with their counters, permits, request ids.
//!
//! Nothing here decides; the files of [`crate::apply`] do. All tables are copy-on-write (`cow_map.rs`, `resources.rs`), so that a
//! copy of the whole state, taken for a snapshot, costs microseconds a thousand entries and shares what does not change.

mod availability;
mod budget;
mod by_value;
mod circuit;
mod coalesced;
mod condition;
mod conditions;
mod cow_map;
mod fetch;
mod few;
mod pace;
mod permits;
mod rare;
mod request_ids;
mod resource;
mod resources;
mod result_ends;
mod scoped;
mod shared;
mod spare;
mod tally;
mod told;
mod weight;

pub(crate) use availability::{Availability, Gate};
pub(crate) use budget::{
    BudgetDebit, ByConsumer, MAX_CONSUMERS, Share, ShareDebit, ShareHold, ShareId, Whole,
};
pub(crate) use by_value::ByValue;
pub(crate) use coalesced::{Coalesced, Kept, MAX_CALLS};
pub(crate) use condition::ramp_of;
pub(crate) use conditions::Conditions;
pub(crate) use cow_map::CowMap;
pub(crate) use fetch::AHEAD;
pub(crate) use few::Few;
pub(crate) use pace::Pace;
pub(crate) use permits::{Debited, Debits, Hold, Holds, MAX_LEASED_IN_ALL, Permit, Permits};
pub(crate) use rare::{Blank, Rare};
pub(crate) use request_ids::{Fingerprint, Remembered, RequestIds};
pub(crate) use resource::{Counters, LimitId, LimitState, MAX_SETTLEABLE, ResourceState, terms_of};
pub(crate) use resources::{Place, Resources};
pub(crate) use result_ends::ResultEnds;
pub(crate) use scoped::Scoped;
pub(crate) use shared::Shared;
pub(crate) use spare::Spare;
pub(crate) use told::Told;
pub(crate) use weight::MAX_COUNTER_BYTES;

pub use resource::MAX_RESOURCES;
