//! Limits that a vendor says are exhausted: nothing is granted of them for a while, and what they do not apply to goes on. They come
//! back by a ramp of their own, or by that of the key where all of its calls have waited.

use super::{
    figures::{self, before},
    operations::applies,
    report::Call,
};
use crate::{
    model::{
        CallOutcome, ClusterTime, Label, LimitName, PaceCause, PermitId, Scope, Span, Stamp, VendorAnswer,
    },
    state::{Counters, Permit, ResourceState, ramp_of},
};

/// A limit of ours because of which a call was refused.
struct Named {
    at: usize,
    value: Label,
    /// It does not apply to all calls of the key: it is of some operations, of the consumer or of the subject.
    is_narrow: bool,
}

/// What becomes of a refusal that says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsTold {
    /// It concerns all calls of the key.
    All,
    /// It concerns some, and those wait.
    Held,
    /// It concerns some, and more are held already than can be remembered.
    NoRoom,
}

/// What is held because of a refusal that says no time to come back.
#[derive(Default)]
pub(super) struct Held {
    /// All that it names, and all of it is narrower than the key.
    pub is_narrow: bool,
    /// The keys (empty: the resource as a whole) of which nothing is granted before then, since a limit of all their calls is held.
    pub shut: Vec<(Label, ClusterTime)>,
}

/// Holds what the exhausted limits apply to for as long as the vendor says, if it says which they are and all of them that apply to the
/// call are narrower than the key. Where nobody knows which apply, because the permit is not remembered and too little is told beside
/// it, all wait.
pub(super) fn as_told(
    state: &mut ResourceState,
    call: &Call,
    answer: &VendorAnswer,
    wait: Span,
    now: Stamp,
) -> AsTold {
    // A vendor may name all limits of a kind, such as those of reads and those of writes; a call is of one.
    let concerned: Vec<_> = answer.exhausted.iter().filter_map(|name| named(state, call, name)).collect();
    let is_clear = |name| figures::position(state, name).is_some_and(|at| is_clear(state, call, at));
    let is_narrow = concerned.iter().all(|limit| limit.is_narrow) && answer.exhausted.iter().all(is_clear);
    if concerned.is_empty() || !is_narrow {
        return AsTold::All;
    }
    let until = now.cluster + wait;
    // Each of them is held, whether or not there was room for another.
    let held = concerned.iter().filter(|limit| hold(state, limit, until, PaceCause::Pause, now)).count();
    if held > 0 { AsTold::Held } else { AsTold::NoRoom }
}

/// Holds what a refusal names that says no time, such as a day's quota that others have used up, until the limit's own window has room
/// again as far as we know: asked before, the vendor would refuse that call as well. What is told late, of a window that is over or
/// of calls from before an operator has spoken, is left aside.
pub(super) fn until_there_is_room(
    state: &mut ResourceState,
    call: &Call,
    answer: &VendorAnswer,
    now: Stamp,
) -> Held {
    let is_refused = call.outcome == CallOutcome::Throttled && !call.is_known;
    let refused = call.permit.zip(call.granted).filter(|(id, _)| is_refused && id.0 > state.spoken_after);
    let Some((id, permit)) = refused else { return Held::default() };
    let mut held = Held { is_narrow: !answer.exhausted.is_empty(), shut: Vec::new() };
    for name in &answer.exhausted {
        let limit = named(state, call, name);
        let room_in = limit.as_ref().and_then(|limit| room_in(state, (id, permit), limit, now));
        let Some((limit, room_in)) = limit.zip(room_in) else {
            held.is_narrow = false;
            continue;
        };
        let until = now.cluster + room_in.min(state.definition.feedback.longest_wait);
        // Where as many are held as may be, what cannot be held lowers the pace.
        held.is_narrow &= hold(state, &limit, until, PaceCause::Refusals, now) && limit.is_narrow;
        if limit.shuts(state) {
            held.shut.push((limit.value, until));
        }
    }
    held
}

/// Whether that is remembered.
fn hold(state: &mut ResourceState, limit: &Named, until: ClusterTime, cause: PaceCause, now: Stamp) -> bool {
    let definition = &state.definition;
    let ramp = ramp_of(&definition.limits[limit.at].kind, &definition.feedback, until);
    let ramp = ramp.filter(|_| !limit.shuts(state)).map(|ramp| ramp.because(cause));
    state.limits[limit.at].told.hold(&limit.value, until, ramp, now.cluster)
}

impl Named {
    /// All calls of its key wait for it, or all of the resource, and come back by their pace.
    fn shuts(&self, state: &ResourceState) -> bool {
        !self.is_narrow && state.definition.limits[self.at].dimension.is_none()
    }
}

/// Whether it is known if the limit applies to the call, and to which value of it the call belongs. A permit says all; without, what is not
/// told may be anything.
fn is_clear(state: &ResourceState, call: &Call, at: usize) -> bool {
    let (limit, operation) = (&state.definition.limits[at], call.caller.operation);
    let is_told = !operation.is_empty() || limit.operations.is_empty();
    let is_of_none = || !applies(&limit.operations, operation);
    call.granted.is_some() || is_told && (is_of_none() || call.caller.scope_value(limit.scope).is_some())
}

/// The limit of that name, if it is enforced and applies to the call.
fn named(state: &ResourceState, call: &Call, name: &LimitName) -> Option<Named> {
    let at = figures::position(state, name)?;
    let limit = &state.definition.limits[at];
    let value = call.caller.scope_value(limit.scope)?;
    let is_narrow = !limit.operations.is_empty() || matches!(limit.scope, Scope::Consumer | Scope::Subject);
    applies(&limit.operations, call.caller.operation).then_some(Named { at, value, is_narrow })
}

/// How long the limit has no room, if the vendor has just said that it has none. `None` of slots, which nobody knows, and for what is
/// not about the window of now.
fn room_in(
    state: &ResourceState,
    (id, permit): (PermitId, &Permit),
    limit: &Named,
    now: Stamp,
) -> Option<Span> {
    let Counters::Rate(counters) = &state.limits[limit.at].counters else { return None };
    let (counter, terms) = (counters.get(&limit.value)?, state.terms(limit.at));
    let granted = before(now, now.cluster.since(permit.granted_at));
    let is_news = !state.limits[limit.at].told.heard_after(&limit.value, id);
    let is_of_now = is_news && counter.is_of_this_window(terms, granted, now);
    is_of_now.then(|| counter.exhausted_for(terms, now))
}
