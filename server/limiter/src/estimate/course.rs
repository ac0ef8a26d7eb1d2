//! Carrying the work out on a copy of its resource.
//!
//! At each moment as much goes as can, those that are furthest behind first. When nothing can go, time jumps to the first
//! moment at which a chunk of somebody's can. Where limits free evenly nothing is lost by that. Where one does and another
//! frees only much later, the part that the second lets through until then goes first.

use super::{
    CHUNKS, HORIZON,
    lane::{Holder, Impossible, Lane},
    slots::SlotPool,
    terms::terms,
};
use crate::{
    Limiter,
    apply::operations,
    model::{
        Acquire, Command, Denial, DenialReason, Label, Outcome, Rejection, ResourceName, Scope, Span, Stamp,
    },
    state::{Permits, ResourceState, Shared},
};

/// Grants and jumps until the rest is extrapolated. Most work takes two or three a chunk; only limits that hardly ever let
/// anything through together take more.
const MOVES_MAX: u64 = 10 * CHUNKS;

/// Rounds in which limits and slots may push each other further.
const ROUNDS_MAX: usize = 64;

/// The work on one resource.
pub(super) struct Course<'a> {
    /// As it is, for its slots.
    original: &'a ResourceState,
    /// Nothing but the resource, on the terms of the work.
    copy: Limiter,
    name: &'a ResourceName,
    /// Whose budget the slots are of.
    consumer: &'a Label,
    pools: Vec<SlotPool>,
    began: Stamp,
    now: Stamp,
}

/// How long calls have to wait, and for what.
struct Wait {
    span: Span,
    holder: Option<Holder>,
}

impl<'a> Course<'a> {
    /// The work on a resource, from now on; none if it does not exist.
    pub fn on(
        limiter: &'a Limiter,
        name: &'a ResourceName,
        consumer: &'a Label,
        now: Stamp,
    ) -> Option<Course<'a>> {
        let original: &ResourceState = limiter.resources.get(name)?;
        let mut copy = Limiter::default();
        copy.resources.insert(name.clone(), Shared::new(original.clone()));
        Some(Course { original, copy, name, consumer, pools: Vec::new(), began: now, now })
    }

    /// Carries all of it out, as far as it can be.
    pub fn run(&mut self, lanes: &mut [Lane]) {
        self.prepare(lanes);
        let began = self.now;
        for _ in 0..MOVES_MAX {
            if !lanes.iter().any(Lane::is_open) {
                return;
            }
            if !self.go(lanes) && !self.jump(lanes) {
                return;
            }
        }
        let open = lanes.iter_mut().filter(|lane| lane.is_open());
        open.for_each(|lane| lane.extrapolate(began, self.now));
    }

    /// How long after the beginning the first call of each lane can go, on the terms as they are; none if never.
    pub fn first_calls(&mut self, lanes: &mut [Lane]) -> Vec<Option<Span>> {
        self.prepare(&mut []);
        let so_far = self.now.cluster.since(self.began.cluster);
        let mut first = Vec::new();
        for lane in lanes {
            self.find_pools(lane);
            first.push(self.wait(lane, 1).ok().map(|wait| so_far + wait.span));
        }
        first
    }

    fn prepare(&mut self, lanes: &mut [Lane]) {
        let now = self.now;
        let terms = terms(&self.original.definition, lanes);
        if let Some(state) = self.copy.resources.get_mut(self.name) {
            state.redefine(terms, 0, &Permits::default(), now);
        }
        for lane in lanes {
            self.find_pools(lane);
            let slots = lane.pools.iter().map(|pool| self.pools[*pool].slots).min();
            lane.in_a_row = slots.map_or(1, |slots| (lane.chunk / slots.max(1)).max(1));
            lane.chunk = slots.map_or(lane.chunk, |slots| lane.chunk.min(slots * lane.in_a_row).max(1));
            let invalid = |chunk| {
                let refused = self.copy.refuse(now, &Command::Acquire(lane.together(chunk)));
                matches!(refused, Some(Err(Rejection::Invalid(_))))
            };
            // What a budget has of a limit may be less than a chunk.
            let halves = std::iter::successors(Some(lane.chunk), |chunk| Some(chunk / 2));
            lane.chunk = halves.take_while(|chunk| *chunk > 1).find(|chunk| !invalid(*chunk)).unwrap_or(1);
        }
    }

    /// Whose slots the calls need.
    fn find_pools(&mut self, lane: &mut Lane) {
        lane.pools.clear();
        for (position, limit) in self.original.definition.limits.iter().enumerate() {
            let Acquire { operation, key, consumer, .. } = &lane.call;
            let value = match limit.scope {
                _ if limit.shadow || !operations::applies(&limit.operations, operation) => continue,
                Scope::Resource => Label::default(),
                Scope::Key => key.clone(),
                Scope::Consumer => consumer.clone(),
                Scope::Subject => continue,
            };
            let known = self.pools.iter().position(|pool| (pool.position, &pool.value) == (position, &value));
            let at = known.or_else(|| {
                self.pools.push(SlotPool::new(
                    self.original,
                    position,
                    value,
                    self.consumer,
                    self.now.cluster,
                )?);
                Some(self.pools.len() - 1)
            });
            lane.pools.extend(at);
        }
    }

    /// Lets the lane go that is furthest behind of those that can. Whether there is one.
    fn go(&mut self, lanes: &mut [Lane]) -> bool {
        let mut open: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].is_open()).collect();
        open.sort_by(|a, b| lanes[*a].progress_beside(&lanes[*b]));
        for at in open {
            let fitting = self.fitting(&lanes[at]);
            if fitting > 0 {
                self.carry_out(&mut lanes[at], fitting);
                return true;
            }
        }
        false
    }

    /// How many calls can go now, at most a chunk.
    fn fitting(&self, lane: &Lane) -> u64 {
        let fits = |calls| self.fits(lane, calls);
        let chunk = lane.next_chunk();
        if fits(chunk) {
            return chunk;
        }
        if chunk == 1 || !fits(1) {
            return 0;
        }
        greatest(1, chunk, fits)
    }

    fn fits(&self, lane: &Lane, calls: u64) -> bool {
        let (slots, now) = (self.slots_for(lane, calls), self.now.cluster);
        let free = |pool: &usize| self.pools[*pool].earliest(slots, lane.call_duration, now) == Some(now);
        lane.pools.iter().all(free)
            && self.copy.refuse(self.now, &Command::Acquire(lane.together(calls))).is_none()
    }

    fn carry_out(&mut self, lane: &mut Lane, calls: u64) {
        let mut answers = Vec::new();
        self.copy.apply(self.now, &[Command::Acquire(lane.together(calls))], &mut answers);
        if let Some(Err(rejection)) = answers.pop() {
            // A scoped limit that counts as many values as it may.
            lane.impossible = Some(Impossible { limit: None, problem: rejection.to_string() });
            return;
        }
        let in_a_row = calls.div_ceil(self.slots_for(lane, calls));
        for pool in &lane.pools {
            let slots = calls.div_ceil(in_a_row);
            self.pools[*pool].take(slots, lane.call_duration, in_a_row, self.now.cluster);
        }
        let lasts = match lane.pools.is_empty() {
            true => Span::ZERO,
            false => Span(lane.call_duration.0.saturating_mul(in_a_row)),
        };
        lane.ends_at = lane.ends_at.max(self.now.cluster + lasts);
        lane.done += calls;
    }

    /// Goes to the moment at which somebody can go on. Whether there is one.
    fn jump(&mut self, lanes: &mut [Lane]) -> bool {
        let mut waits: Vec<(usize, Wait)> = Vec::new();
        for (at, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_open()) {
            match self.next(lane) {
                Ok(wait) => waits.push((at, wait)),
                Err(never) => lane.impossible = Some(never),
            }
        }
        let Some(soonest) = waits.iter().map(|(_, wait)| wait.span).min() else { return false };
        let beyond = self.now.after(soonest).cluster.since(self.began.cluster) > HORIZON;
        let middle = self.now.after(Span(soonest.0 / 2));
        for (at, Wait { holder, .. }) in waits {
            let holder = self.holder_at(middle, &lanes[at]).or(holder);
            lanes[at].hold_up(holder.as_ref(), soonest);
            if beyond {
                let limit = holder.map(|holder| holder.limit);
                lanes[at].impossible = Some(Impossible { limit, problem: Lane::too_long() });
            }
        }
        self.now = self.now.after(soonest);
        !beyond
    }

    /// What holds a single call up in the middle of a wait: a bucket may have begun it, and a closed budget gone on with it.
    fn holder_at(&self, middle: Stamp, lane: &Lane) -> Option<Holder> {
        let one = Command::Acquire(lane.together(1));
        self.wait_for_limits(&one, middle).ok().and_then(|wait| wait.holder)
    }

    /// How long until a lane that cannot go now goes on.
    fn next(&self, lane: &Lane) -> Result<Wait, Impossible> {
        let chunk = lane.next_chunk();
        let one = self.wait(lane, 1)?;
        let Ok(whole) = self.wait(lane, chunk) else { return Ok(one) };
        let is_faster = |part: u64, wait: &Wait| {
            u128::from(part) * u128::from(whole.span.0) * 4 > u128::from(chunk) * u128::from(wait.span.0) * 5
        };
        // Where limits free evenly, or all at once, a part goes on no faster than the whole.
        if !is_faster(1, &one) {
            return Ok(whole);
        }
        let half = Span(whole.span.0 / 2);
        let sooner = |calls| self.wait(lane, calls).is_ok_and(|wait| wait.span < half);
        let part = greatest(1, chunk, sooner);
        let first = self.wait(lane, part)?;
        Ok(if is_faster(part, &first) { first } else { whole })
    }

    /// How long until so many calls can go together.
    fn wait(&self, lane: &Lane, calls: u64) -> Result<Wait, Impossible> {
        let acquire = Command::Acquire(lane.together(calls));
        let slots = self.slots_for(lane, calls);
        let mut after = Span::ZERO;
        let mut longest = Wait { span: Span::ZERO, holder: None };
        for _ in 0..ROUNDS_MAX {
            let at = self.now.after(after);
            let mut more = self.wait_for_limits(&acquire, at)?;
            for pool in &lane.pools {
                let wait = self.wait_for_slots(&self.pools[*pool], slots, lane, at)?;
                if wait.span > more.span {
                    more = wait;
                }
            }
            after = after + more.span;
            if more.span.is_zero() {
                break;
            }
            if more.span > longest.span {
                longest = more;
            }
        }
        Ok(Wait { span: after, ..longest })
    }

    fn slots_for(&self, lane: &Lane, calls: u64) -> u64 {
        calls.div_ceil(lane.in_a_row).max(1)
    }

    fn wait_for_limits(&self, acquire: &Command, at: Stamp) -> Result<Wait, Impossible> {
        match self.copy.refuse(at, acquire) {
            Some(Ok(Outcome::Denied(denial))) => match denial.retry_after {
                Some(span) => Ok(Wait { span: span.max(Span(1)), holder: Holder::of(&denial) }),
                None => Err(self.never(&denial)),
            },
            Some(Err(rejection)) => Err(Impossible { limit: None, problem: rejection.to_string() }),
            _ => Ok(Wait { span: Span::ZERO, holder: None }),
        }
    }

    fn wait_for_slots(
        &self,
        pool: &SlotPool,
        slots: u64,
        lane: &Lane,
        at: Stamp,
    ) -> Result<Wait, Impossible> {
        let holder = || Holder { limit: pool.limit.clone(), budget: None };
        match pool.earliest(slots, lane.call_duration, at.cluster) {
            Some(when) => Ok(Wait { span: when.since(at.cluster), holder: Some(holder()) }),
            None => Err(Impossible {
                limit: Some(pool.limit.clone()),
                problem: format!("limit `{}` has no slots for it", pool.limit),
            }),
        }
    }

    fn never(&self, denial: &Denial) -> Impossible {
        let problem = match &denial.reason {
            DenialReason::Paused { key, .. } if key.is_empty() => {
                format!("`{}` is paused until somebody resumes it", self.name)
            }
            DenialReason::Paused { key, .. } => format!("key `{key}` is paused until somebody resumes it"),
            DenialReason::KeyUnavailable => "no key that it could use is active".to_owned(),
            DenialReason::BudgetExhausted { budget: Some(budget) } => {
                format!("budget `{budget}` never lets it go")
            }
            _ => "nothing but an order can let it go".to_owned(),
        };
        Impossible { limit: denial.limit.clone(), problem }
    }
}

/// The greatest number from `least` on and below `beyond` that is so, if `least` is and all numbers below one that is are.
fn greatest(mut least: u64, mut beyond: u64, so: impl Fn(u64) -> bool) -> u64 {
    while beyond - least > 1 {
        let middle = least + (beyond - least) / 2;
        if so(middle) { least = middle } else { beyond = middle }
    }
    least
}
