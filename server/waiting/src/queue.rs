//! Everybody who waits on this leader: who comes, who goes, and when to look again.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{ClusterTime, Freed, Limiter, RequestId, ResourceName, Span};

use super::{
    Bound, Full, Moment, Waiter, WaiterId,
    arrival::{Arrival, ArrivedAt},
    flow::{FlowId, FlowKey},
    front::Front,
};

/// Waiters at a time, over all resources: what a leader can hold in memory.
pub const MAX_WAITERS: usize = 200_000;

/// By how much wall time may get ahead of cluster time before calendars are looked at again. Wall clocks that differ by less
/// take turns in telling the time.
const WALL_TOLERANCE: Span = Span::from_millis(20);

/// Who waits, and in what order. `C` is whom to tell.
#[derive(Debug)]
pub struct WaitingQueue<C> {
    pub(crate) waiters: BTreeMap<WaiterId, Parked<C>>,
    pub(crate) fronts: BTreeMap<ResourceName, Front>,
    /// Those of whom somebody could be looked at or answered.
    pub(crate) ready: BTreeSet<ResourceName>,
    /// When something frees by itself.
    pub(crate) dues: BTreeSet<(ClusterTime, ResourceName)>,
    /// When patience ends, by the leader's clock.
    pub(crate) patience: BTreeSet<(Span, WaiterId)>,
    pub(crate) by_request_id: BTreeSet<(RequestId, WaiterId)>,
    pub(crate) now: Moment,
    /// By how much wall time was ahead of cluster time when lines were told to look at it, in nanoseconds.
    wall_ahead: i64,
    /// Something has happened since the last turns, or they ended early.
    pub(crate) is_stirred: bool,
    /// The resource whose turns ended early; those after it come first.
    pub(crate) last_served: Option<ResourceName>,
    entered: u64,
    flows_formed: u64,
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Parked<C> {
    pub waiter: Waiter<C>,
    pub arrived_at: ArrivedAt,
    /// For each of its resources.
    pub flows: Box<[FlowId]>,
}

impl<C> Default for WaitingQueue<C> {
    fn default() -> Self {
        WaitingQueue {
            waiters: BTreeMap::new(),
            fronts: BTreeMap::new(),
            ready: BTreeSet::new(),
            dues: BTreeSet::new(),
            patience: BTreeSet::new(),
            by_request_id: BTreeSet::new(),
            now: Moment::default(),
            wall_ahead: 0,
            is_stirred: false,
            last_served: None,
            entered: 0,
            flows_formed: 0,
        }
    }
}

impl<C> WaitingQueue<C> {
    /// Whether anybody waits for the resource.
    pub fn has_waiters(&self, resource: &ResourceName) -> bool {
        self.fronts.contains_key(resource)
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait, over all resources.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Takes in a request. It has its first chance at the next [`take_turns`](Self::take_turns).
    ///
    /// # Errors
    ///
    /// [`Full`], with the waiter, when as many wait as may. Those without patience do not count, and are let in unless the
    /// leader itself is full.
    pub fn enter(
        &mut self,
        mut waiter: Waiter<C>,
        limiter: &Limiter,
        now: Moment,
    ) -> Result<WaiterId, Full<C>> {
        self.now = now;
        if let Err(bound) = self.check_bounds(&waiter, limiter) {
            return Err(Full { waiter, bound });
        }
        self.entered += 1;
        let id = WaiterId(self.entered);
        let arrived_at = ArrivedAt::before(now, waiter.waited_for);
        let choices = waiter.acquire.choices();
        let flows = choices
            .map(|alternative| self.join(&mut waiter, alternative, limiter, Arrival { at: arrived_at, id }));
        let flows = flows.collect();
        if !waiter.patience.is_zero() {
            self.patience.insert((now.monotonic + waiter.patience, id));
        }
        if let Some(request_id) = &waiter.acquire.request_id {
            self.by_request_id.insert((request_id.clone(), id));
        }
        self.waiters.insert(id, Parked { waiter, arrived_at, flows });
        self.is_stirred = true;
        Ok(id)
    }

    /// Takes a waiter out, who has given up; none if it has left before.
    pub fn leave(&mut self, id: WaiterId) -> Option<Waiter<C>> {
        self.is_stirred = true;
        self.remove(id).map(|parked| parked.waiter)
    }

    /// Something was given back: ask [`Limiter::freed_by`] before the command is applied, and say it here after.
    pub fn freed(&mut self, freed: &Freed) {
        self.stir(&freed.resource, |front| front.wake(freed));
    }

    /// The resource was created, changed or deleted, or something was ordered about it.
    pub fn touched(&mut self, resource: &ResourceName) {
        self.stir(resource, |front| front.lines().wake_all());
    }

    /// So late is it. To be told often, for neither scale of the stamp follows the monotonic clock in all cases: cluster time
    /// makes up for an outage all at once when the leader has found out how long that was, and wall clocks are put right.
    /// Then what was to return later may be there already.
    pub fn tell_time(&mut self, now: Moment) {
        self.now = now;
        let cluster = i64::try_from(now.stamp.cluster.0).unwrap_or(i64::MAX);
        let ahead = now.stamp.wall.0.saturating_sub(cluster);
        let has_jumped = ahead.abs_diff(self.wall_ahead) > WALL_TOLERANCE.0;
        if has_jumped && ahead > self.wall_ahead {
            let resources: Vec<_> = self.fronts.keys().cloned().collect();
            resources.iter().for_each(|resource| self.touched(resource));
        }
        if has_jumped {
            self.wall_ahead = ahead;
        }
    }

    /// When to call [`take_turns`](Self::take_turns) at the latest, if nothing else gives cause to: the next capacity that
    /// is known to return, or the end of somebody's patience.
    pub fn next_wake(&self) -> Option<Span> {
        if self.is_stirred {
            return Some(self.now.monotonic);
        }
        let Moment { monotonic, stamp } = self.now;
        let due = self.dues.first().map(|(due, _)| monotonic + due.since(stamp.cluster));
        let patience = self.patience.first().map(|(end, _)| *end);
        due.into_iter().chain(patience).min()
    }

    /// Everybody, in the order in which they entered, when the leadership is lost.
    pub fn into_waiters(self) -> impl Iterator<Item = Waiter<C>> {
        self.waiters.into_values().map(|parked| parked.waiter)
    }

    /// Takes a waiter out of wherever it stands.
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Parked<C>> {
        let parked = self.waiters.remove(&id)?;
        let Waiter { acquire, waited_for, patience, .. } = &parked.waiter;
        let arrival = Arrival { at: parked.arrived_at, id };
        for (alternative, flow) in acquire.choices().zip(&parked.flows) {
            let Some(choice) = acquire.choice(alternative) else { continue };
            let Some(front) = self.fronts.get_mut(&choice.resource) else { continue };
            front.quit(*flow, arrival);
            match patience.is_zero() {
                true => drop(front.impatient.remove(&id)),
                false => front.census.remove(&acquire.consumer, acquire.priority),
            }
            self.file(&choice.resource);
        }
        let entered_at = parked.arrived_at.entered_at(*waited_for);
        self.patience.remove(&(entered_at + *patience, id));
        if let Some(request_id) = &acquire.request_id {
            self.by_request_id.remove(&(request_id.clone(), id));
        }
        Some(parked)
    }

    /// Files the resource by what is to be done for it next; forgets it when nobody waits.
    pub(crate) fn file(&mut self, resource: &ResourceName) {
        let Some(front) = self.fronts.get_mut(resource) else { return };
        let due = front.next_due();
        if let Some(before) = front.filed.filter(|before| Some(*before) != due) {
            self.dues.remove(&(before, resource.clone()));
        }
        if let Some(due) = due.filter(|due| front.filed != Some(*due)) {
            self.dues.insert((due, resource.clone()));
        }
        front.filed = due;
        match front.has_work() {
            true => self.ready.insert(resource.clone()),
            false => self.ready.remove(resource),
        };
        if front.is_empty() {
            self.fronts.remove(resource);
        }
    }

    /// Forms the flows of a resource anew if its definition is another one by now: what requests draw on is what it says.
    /// Takes time in proportion to those who wait, once for each change.
    pub(crate) fn regroup(&mut self, resource: &ResourceName, limiter: &Limiter) {
        let (queueing, generation) = limiter.queueing(resource).unwrap_or_default();
        let Some(front) = self.fronts.get_mut(resource) else { return };
        front.set_time(self.now, queueing.ageing);
        if front.generation == generation {
            return;
        }
        for (flow, arrival) in front.start_over(generation, self.now, queueing.ageing) {
            let Some(parked) = self.waiters.get_mut(&arrival.id) else { continue };
            let Some(alternative) = parked.alternative(flow) else { continue };
            let acquire = &mut parked.waiter.acquire;
            let key = flow_key(limiter, acquire, alternative);
            self.flows_formed += 1;
            parked.flows[alternative as usize] = front.join(key, arrival, acquire, FlowId(self.flows_formed));
        }
        self.file(resource);
    }

    fn join(
        &mut self,
        waiter: &mut Waiter<C>,
        alternative: u32,
        limiter: &Limiter,
        arrival: Arrival,
    ) -> FlowId {
        let choice = waiter.acquire.choice(alternative);
        let resource =
            choice.map_or_else(|| waiter.acquire.resource.clone(), |choice| choice.resource.clone());
        let (queueing, generation) = limiter.queueing(&resource).unwrap_or_default();
        self.regroup(&resource, limiter);
        self.flows_formed += 1;
        let fresh = FlowId(self.flows_formed);
        let key = flow_key(limiter, &waiter.acquire, alternative);
        let now = self.now;
        let front = self.fronts.entry(resource.clone());
        let front = front.or_insert_with(|| Front::new(generation, now, queueing.ageing));
        let flow = front.join(key, arrival, &mut waiter.acquire, fresh);
        match waiter.patience.is_zero() {
            true => drop(front.impatient.insert(arrival.id)),
            false => front.census.add(&waiter.acquire.consumer, waiter.acquire.priority),
        }
        self.file(&resource);
        flow
    }

    fn stir(&mut self, resource: &ResourceName, wake: impl FnOnce(&mut Front)) {
        if let Some(front) = self.fronts.get_mut(resource) {
            wake(front);
            self.is_stirred = true;
            self.file(resource);
        }
    }

    fn check_bounds(&self, waiter: &Waiter<C>, limiter: &Limiter) -> Result<(), Bound> {
        if self.waiters.len() >= MAX_WAITERS {
            return Err(Bound::Leader);
        }
        if waiter.patience.is_zero() {
            return Ok(());
        }
        let acquire = &waiter.acquire;
        for choice in acquire.choices().filter_map(|alternative| acquire.choice(alternative)) {
            let resource = &choice.resource;
            let (Some((queueing, _)), Some(front)) = (limiter.queueing(resource), self.fronts.get(resource))
            else {
                continue;
            };
            let max = queueing.max_waiters;
            if front.census.total() >= u64::from(max) {
                return Err(Bound::Resource { resource: resource.clone(), max });
            }
            let (consumer, max) = (&acquire.consumer, queueing.max_waiters_per_consumer);
            if front.census.of_consumer(consumer) >= u64::from(max) {
                let (resource, consumer) = (resource.clone(), consumer.clone());
                return Err(Bound::Consumer { resource, consumer, max });
            }
        }
        Ok(())
    }
}

impl<C> Parked<C> {
    /// Which of the request's resources the flow is for.
    pub fn alternative(&self, flow: FlowId) -> Option<u32> {
        (0..).zip(&self.flows).find(|(_, other)| **other == flow).map(|(alternative, _)| alternative)
    }
}

fn flow_key(limiter: &Limiter, acquire: &tollgate_limiter::Acquire, alternative: u32) -> FlowKey {
    FlowKey {
        priority: acquire.priority,
        consumer: acquire.consumer.clone(),
        signature: limiter.signature(acquire, alternative),
    }
}
