//! Carrying the work out on a copy of its resource.
//!
//! At each moment as much goes as can, those that are furthest behind first. When nothing can go, time jumps to the first
//! moment at which a chunk of somebody's can. Where limits free evenly nothing is lost by that. Where one does and another
//! frees only much later, the part that the second lets through until then goes first.

use super::{
    CHUNKS, HORIZON,
    lane::{Impossible, Lane},
    slots::SlotPool,
    terms::terms,
    wait::{Wait, greatest},
};
use crate::{
    Limiter,
    apply::operations,
    model::{Acquire, Command, Label, Rejection, ResourceName, Scope, Span, Stamp},
    state::{Permits, ResourceState, Shared},
};

/// Grants and jumps until the rest is extrapolated. Most work takes two or three a chunk; only limits that hardly ever let
/// anything through together take more.
const MOVES_MAX: u64 = 10 * CHUNKS;

/// The work on one resource.
pub(super) struct Course<'a> {
    /// As it is, for its slots.
    original: &'a ResourceState,
    /// Nothing but the resource, on the terms of the work.
    pub copy: Limiter,
    pub name: &'a ResourceName,
    /// Whose budget the slots are of.
    consumer: &'a Label,
    pub pools: Vec<SlotPool>,
    began: Stamp,
    pub now: Stamp,
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
        copy.resources.insert(Shared::new(original.clone()));
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
                let refused = self.copy.refuse(now, &Command::from(lane.together(chunk)));
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

    fn carry_out(&mut self, lane: &mut Lane, calls: u64) {
        let mut answers = Vec::new();
        self.copy.apply(self.now, &[Command::from(lane.together(calls))], &mut answers);
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
}
