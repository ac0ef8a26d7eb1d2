//! The counters against their guarantees. The reference models know nothing of the algorithms: they keep every grant in a
//! list and add up, by brute force, what the vendor would see.

#![expect(clippy::unwrap_used, reason = "what a test takes for granted fails the test if it does not hold")]

mod calendar;
mod carry;
mod extremes;
mod guarantees;
mod refunds;
mod script;
mod slots;
mod timing;
