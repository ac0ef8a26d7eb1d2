//! What vendors say of their limits, as figures.
//!
//! **Invariant:** figures only ever take away. An amount below ours takes the place of ours, until an operator says otherwise;
//! less left than we count means that others have used it, and is debited; and so is what a call cost more than was acquired for it.
//!
//! Not all of it is true, or still true. So:
//!
//! * Each takes away at most the share of a limit that its resource trusts them with
//!   ([`FeedbackRules::trusted_percent`](crate::model::FeedbackRules)): the one of its amount, the other of what is in force in each
//!   period, of a bucket in the time that it takes to fill.
//! * What was said to calls that were permitted before an operator changed or resumed the resource is left aside, and so is what
//!   was said to calls without a permit: nobody knows when that was.
//! * What is left is compared with what we count, which is never more than what is left for a vendor that knows nobody but us:
//!   we count all that was granted, also what has not arrived yet. But as time goes by a window forgets, so what is told late is
//!   left aside: of calls that were permitted more than a quarter of the period ago, in another window, or before one of which
//!   something was told already, by the order of grants.

use super::request::Caller;
use crate::{
    model::{LimitKind, LimitName, LimitTold, PermitId, Span, Stamp, WallTime, percent_of},
    state::{Counters, Debited, Permit, ResourceState, terms_of},
};

/// Counters that a limit may have for its amount to be tightened: all are carried over to the new terms at once.
const COUNTERS_MAX: usize = 10_000;

/// The amount, if it is less than ours. Any is remembered, so that it can be seen how ours differs, and so that what was said before
/// it and comes late is left aside, by the order of grants.
pub(super) fn tighten(state: &mut ResourceState, permit: PermitId, told: &LimitTold, now: Stamp) {
    let Some((at, amount)) = position(state, &told.limit).zip(told.amount) else { return };
    if !state.limits[at].told.note_amount(amount, permit, now.cluster) {
        return;
    }
    let (defined, in_force) = (&state.defined().limits[at].kind, &state.definition.limits[at].kind);
    let ours = defined.amount_per_period();
    let limit = &state.definition.limits[at];
    // Each budget keeps at least 1 of what it has a share of.
    let shares = state
        .definition
        .shares_of(limit)
        .flat_map(|(_, share)| [share.reserve_percent, share.ceiling_percent]);
    let undivided =
        shares.filter(|percent| *percent > 0).map(|percent| 100_u64.div_ceil(percent.into())).max();
    let trusted = percent_of(ours, state.definition.feedback.trusted_percent);
    let least = (ours - trusted).max(undivided.unwrap_or(1));
    let tightened = in_force.at_most(amount.max(least));
    let counters = match &state.limits[at].counters {
        Counters::Rate(counters) => counters.len(),
        Counters::Slots(counters) => counters.len(),
    };
    if tightened != *in_force && counters <= COUNTERS_MAX {
        state.tighten(at, tightened, now);
    }
}

/// What is left, if it is less than we count.
pub(super) fn debit_others(
    state: &mut ResourceState,
    (id, permit): (PermitId, &Permit),
    told: &LimitTold,
    now: Stamp,
) {
    let Some((at, remaining)) = position(state, &told.limit).zip(told.remaining) else { return };
    let ResourceState { definition, limits, .. } = state;
    let limit = &definition.limits[at];
    let caller = Caller::with(permit);
    let Some(value) = caller.scope_value(limit.scope) else { return };
    let Some((period, turnover)) = limit.kind.period().zip(limit.kind.turnover()) else { return };
    let age = now.cluster.since(permit.granted_at);
    let state = &mut limits[at];
    let Counters::Rate(counters) = &mut state.counters else { return };
    let Some(counter) = counters.get_mut(&value) else { return };
    let terms = terms_of(definition, limit);
    // Buckets without bursts have nothing left to compare.
    if matches!(limit.kind, LimitKind::LeakyBucket(_)) || age.0 > period.0 / 4 {
        return;
    }
    if !counter.is_of_this_window(terms, before(now, age), now) {
        return;
    }
    let trusted = percent_of(limit.kind.amount(), definition.feedback.trusted_percent);
    let most = state.told.news(&value, id, (trusted, turnover), now.cluster);
    // In debt there is nothing left of which others could have used some.
    let available = u64::try_from(counter.available(terms, now)).unwrap_or(0);
    let by_others = available.saturating_sub(remaining).min(most);
    if by_others > 0 {
        counter.debit(terms, by_others, now);
        state.told.count(&value, by_others);
    }
}

/// What a call weighs on a limit for which the vendor counted more than was acquired; nothing if it is as acquired. What is less is not
/// given back: costs may be of one limit of the vendor's among several.
pub(super) fn charged(
    state: &mut ResourceState,
    at: usize,
    debited: &Debited,
    cost: u64,
    now: Stamp,
) -> Option<u64> {
    let ResourceState { definition, limits, .. } = state;
    let (kind, acquired) = (&definition.limits[at].kind, debited.debit.amount());
    let beyond = cost.checked_sub(acquired).filter(|beyond| *beyond > 0)?;
    let trusted = percent_of(kind.amount(), definition.feedback.trusted_percent);
    let trusted = (trusted, kind.turnover()?);
    let counts = limits[at].told.beyond(&debited.scope_value, beyond, trusted, now.cluster);
    (counts > 0).then(|| acquired + counts)
}

/// So long ago, on both scales.
pub(super) fn before(now: Stamp, age: Span) -> Stamp {
    let wall = WallTime(now.wall.0.saturating_sub_unsigned(age.0));
    Stamp { cluster: now.cluster - age, wall }
}

/// Where the limit is, if it is enforced.
pub(super) fn position(state: &ResourceState, name: &LimitName) -> Option<usize> {
    state.definition.limits.iter().position(|limit| limit.name == *name && !limit.shadow)
}
