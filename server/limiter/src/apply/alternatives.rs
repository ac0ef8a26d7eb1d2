//! Which of several resources a request is granted: the first that can be had now, in the caller's order.

use std::{borrow::Cow, ops::RangeInclusive};

use smallvec::SmallVec;

use super::{
    Limiter,
    acquire::{Plan, choose_key, is_sooner},
    request,
};
use crate::{
    model::{Acquire, Denial, Rejection, Stamp, Violation},
    state::ResourceState,
};

/// A request as it is put to one of its resources.
pub(super) struct Choice<'a> {
    alternative: u32,
    acquire: Cow<'a, Acquire>,
    pub state: &'a ResourceState,
}

impl Limiter {
    /// The first of the resources that can grant the request; if none can, the denial of the one that can be had first, of
    /// several such the first in the caller's order. All are checked before any is decided: what is wrong with an
    /// alternative is told at once, not on the day when it is needed.
    pub(super) fn choose(
        &self,
        acquire: &Acquire,
        among: RangeInclusive<u32>,
        now: Stamp,
    ) -> Result<Result<Plan, Denial>, Rejection> {
        let choices = among.map(|alternative| self.check_choice(acquire, alternative));
        let choices = choices.collect::<Result<SmallVec<[_; 1]>, _>>()?;
        let mut soonest: Option<Denial> = None;
        for Choice { alternative, acquire, state } in choices {
            match choose_key(state, &acquire, now) {
                Ok(plan) => return Ok(Ok(Plan { alternative, ..plan })),
                Err(denial) if soonest.as_ref().is_none_or(|soonest| is_sooner(&denial, soonest)) => {
                    soonest = Some(Denial { alternative, ..denial });
                }
                Err(_) => {}
            }
        }
        // A range of choices is never empty, and each that is not granted leaves a denial.
        soonest.map(Err).ok_or_else(no_such_alternative)
    }

    /// The resource, unless what is asked of it makes no sense there.
    pub(super) fn check_choice<'a>(
        &'a self,
        acquire: &'a Acquire,
        alternative: u32,
    ) -> Result<Choice<'a>, Rejection> {
        let acquire = acquire.choice(alternative).ok_or_else(no_such_alternative)?;
        let missing = || match alternative.checked_sub(1) {
            None => Rejection::ResourceNotFound,
            Some(position) => Rejection::AlternativeNotFound { position, resource: acquire.resource.clone() },
        };
        let state: &ResourceState = self.resources.get(&acquire.resource).ok_or_else(missing)?;
        let wrong = |violation: Violation| Rejection::Invalid(violation.of_alternative(alternative));
        // What is only tightened now fits again later.
        request::check(state.defined(), &acquire).map_err(wrong)?;
        Ok(Choice { alternative, acquire, state })
    }
}

fn no_such_alternative() -> Rejection {
    Rejection::Invalid(Violation::new("alternative", "the request has fewer alternatives"))
}
