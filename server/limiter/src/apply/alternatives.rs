//! Which of several resources a request is granted: the first that can be had now, in the caller's order.

use std::ops::RangeInclusive;

use super::{
    Limiter,
    acquire::{Plan, choose_key, is_sooner},
    request,
};
use crate::{
    model::{Acquire, Denial, Rejection, Stamp, Violation},
    state::Place,
};

impl Limiter {
    /// Plans to grant the request from the first of the resources that can; if none can, the denial of the one that can be had
    /// first, of several such the first in the caller's order. All are checked before any is decided: what is wrong with an
    /// alternative is told at once, not on the day when it is needed.
    pub(super) fn choose(
        &self,
        acquire: &Acquire,
        among: RangeInclusive<u32>,
        now: Stamp,
        plan: &mut Plan,
    ) -> Result<Result<(), Denial>, Rejection> {
        // Nearly all requests have one resource, and no copies of them are made.
        if *among.end() == 0 {
            plan.place = self.check_choice(acquire, 0)?;
            return Ok(choose_key(self.resources.at(plan.place), acquire, now, plan));
        }
        let choice = |at| Ok((at, acquire.choice(at).ok_or_else(no_such_alternative)?));
        let choices = among.map(choice).collect::<Result<Vec<_>, _>>()?;
        let places = choices.iter().map(|(at, acquire)| self.check_choice(acquire, *at));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let mut soonest: Option<Denial> = None;
        for ((alternative, acquire), place) in choices.iter().zip(places) {
            match choose_key(self.resources.at(place), acquire, now, plan) {
                Ok(()) => {
                    (plan.alternative, plan.place) = (*alternative, place);
                    return Ok(Ok(()));
                }
                Err(denial) if soonest.as_ref().is_none_or(|soonest| is_sooner(&denial, soonest)) => {
                    soonest = Some(Denial { alternative: *alternative, ..denial });
                }
                Err(_) => {}
            }
        }
        // A range of choices is never empty, and each that is not granted leaves a denial.
        soonest.map(Err).ok_or_else(no_such_alternative)
    }

    /// Where the resource of the request is, which is put to it as its own or as that alternative; unless what is asked of it makes no
    /// sense there.
    pub(super) fn check_choice(&self, acquire: &Acquire, alternative: u32) -> Result<Place, Rejection> {
        let missing = || match alternative.checked_sub(1) {
            None => Rejection::ResourceNotFound,
            Some(position) => Rejection::AlternativeNotFound { position, resource: acquire.resource.clone() },
        };
        let place = self.resources.find(&acquire.resource).ok_or_else(missing)?;
        let wrong = |violation: Violation| Rejection::Invalid(violation.of_alternative(alternative));
        // What is only tightened now fits again later.
        request::check(self.resources.at(place).defined(), acquire).map_err(wrong)?;
        Ok(place)
    }
}

fn no_such_alternative() -> Rejection {
    Rejection::Invalid(Violation::new("alternative", "the request has fewer alternatives"))
}
