//! Tollgate's waiting queue: of those who wait for a permit, whose turn it is.
//!
//! The leader owns one. It is pure and synchronous as the limiter is: it knows no clock, I/O, randomness or async; time is
//! the [`Moment`] that it is given. It is not replicated: a new leader begins with an empty one, and those who waited come
//! again and say how long they have waited.
//!
//! # The rules
//!
//! **Lines.** Who cannot go stands in the line of what holds it: the limit that binds ([`Line::Limit`]: of this scope value,
//! or of a budget's share of it), a gate ([`Line::Gate`]: a pause, a key out of use, hours), the few permits that are granted
//! while the vendor is not well ([`Line::Ration`]), or the call that another makes for it ([`Line::Call`]). One that pins no
//! key stands in the line of any key.
//!
//! **Nobody passes a line in which one stands that is to go before it.** A request goes when the limiter would grant it, and
//! nobody better stands in a line of any limit that it is debited on; otherwise it stands there as well. So a newcomer does
//! not overtake, a small request does not starve a large one that waits first, and what a limit on searches holds does
//! not hold those who do not search.
//!
//! **Order in a line**: priority; then fair shares between consumers, by weight and by what they take of that limit
//! (`fair.rs`); then arrival. Shares count wherever a request passes, not only where it stood, so that they are kept where
//! limits bind by turns.
//!
//! **Ageing.** Of those in a line that have waited for [`Queueing::ageing`](tollgate_limiter::Queueing), the oldest has
//! every fourth permit that passes there, whatever its priority: with k older ones it goes within 4·(k + 1) permits. It has
//! the right of way at the other lines that it passes; and where another limit holds it just then, it keeps its place at
//! both, if that frees within a second or within the time that it has stood at the first. So two limits that are never free
//! together do not starve it. At most one per resource does so.
//!
//! **Flows.** Requests of one consumer and priority that draw on the same counters wait behind one another, and only the
//! first stands in a line (`flow.rs`). Whatever happens costs O(log n) in those who wait; but for a change of the definition,
//! after which flows are formed anew.
//!
//! **Waking.** Of a line only the next one in it is looked at: when what holds it frees by itself, which the limiter tells
//! exactly; when something is given back ([`WaitingQueue::freed`]); when somebody else is next; when an order or a definition
//! changes ([`WaitingQueue::touched`]). Who becomes the first of a flow is looked at wherever it stands. Where time alone changes
//! which key one would get that any would do, or ends a ration, who gave way there is looked at again after 100 ms at the latest.
//! Lines that are to be looked at together are by priority and arrival of who is next there. What is done in one go is bounded.
//!
//! **Rehearsal.** Choices are carried out on a copy of the resource, so exactly those are proposed who will be granted
//! (`turns.rs`); and while anything is proposed that is not applied yet, nobody goes.
//!
//! **Calls for many.** Requests with one coalesce key are let go as others are; when one has the permit, the others stand in
//! the line of its call. When that ends, all with its key are looked at, wherever they stand: they go beside everybody if there
//! is a result, because they take nothing, else the first of them goes when the limits let it.
//!
//! **What never fits**, because a vendor said that it allows less and a limit was tightened, does not wait: it is denied at
//! once, since only an operator can help it.
//!
//! **Without patience** a request takes part in one turn and is answered then. The wait of others ends with what the limiter
//! says at that moment; or, if there is room but others go first, with
//! [`DenialReason::OthersWait`](tollgate_limiter::DenialReason). Leaving gains and costs nothing.
//!
//! **Alternatives.** A request stands in a line of each of its resources, and leaves the others when it goes in one.
//!
//! Read in this order: `waiter.rs` (the words), `queue.rs` (who comes and goes), `turns.rs` (whose turn it is), `front.rs` (a
//! resource), `flow.rs`, `lines.rs` (which line is looked at when), `line.rs` (who is next in it), `fair.rs`.
//!
//! [`Line::Limit`]: tollgate_limiter::Line::Limit
//! [`Line::Gate`]: tollgate_limiter::Line::Gate
//! [`Line::Ration`]: tollgate_limiter::Line::Ration
//! [`Line::Call`]: tollgate_limiter::Line::Call

#![deny(clippy::float_arithmetic)]

mod arrival;
mod census;
mod fair;
mod flow;
mod front;
mod line;
mod lines;
mod queue;
mod turns;
mod waiter;

#[cfg(test)]
mod properties;

pub use self::{
    queue::{MAX_WAITERS, WaitingQueue},
    waiter::{Bound, ConsumerWaiting, Full, Moment, Turn, Waiter, WaiterId, Waiting},
};
