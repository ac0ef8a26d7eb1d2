//! What becomes of the slots of a call that nobody has the answer to.

/// Whether the slots of a call stay taken that was not answered: one that took too long ([`Limiter::timeout`](super::Limiter::timeout)),
/// whose connection broke ([`Observation::Unanswered`](super::Observation::Unanswered)), or whose future was dropped in the middle.
///
/// The cluster hears of it at once in either case, so that a circuit opens in time, and the next try is made with a permit of its own.
/// What differs is when the slots are free that the call had (of a limit of kind `concurrency`); permits without slots are not concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unanswered {
    /// They stay taken until the lease ends, which is renewed no more: two thirds of it at least, and its grace. Most vendors do not notice
    /// that a caller hangs up, and count the call until they are done with it. Who lets another one in at once is refused, and with each
    /// call that hangs more so. Choose a lease ([`Acquire::lease`](crate::Acquire::lease), `lease_default` of the limit) at least half as
    /// long again as a vendor may go on with a call that nobody waits for. The price: after an outage in which calls hang, the slots
    /// come back with their leases only.
    ///
    /// The next try of an idempotent call waits for a slot beside them: where all slots are taken by calls that hang, until the first lease
    /// ends, or until its wait is over ([`Limiter::wait_up_to`](super::Limiter::wait_up_to)); then the call ends as one without a permit.
    ///
    /// Where others wait for what a call comes to ([`Limiter::share`](super::Limiter::share)), its slots are free at once all the same:
    /// its lease would keep the next one from making it.
    #[default]
    KeepsSlot,
    /// They are free at once. For vendors that drop a call when its caller hangs up, and for limits that the vendor knows nothing of,
    /// such as one on connections of your own.
    FreesSlot,
}
