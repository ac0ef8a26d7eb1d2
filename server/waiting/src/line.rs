//! Who stands in one line, and who of them is next: priority, then fair shares between consumers, then arrival; and every
//! fourth permit to the oldest that has aged.

#[cfg(test)]
mod consistency;

use std::collections::BTreeMap;

use tollgate_limiter::Priority;

use super::{
    arrival::{Arrival, ArrivedAt},
    fair::FairOrder,
    flow::{FlowId, FlowKey},
};

/// After so many permits in the usual order, the next one is for the oldest that has aged.
const USUAL_PASSES: u8 = 3;

/// The heads of the flows that stand here.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    by_priority: BTreeMap<Priority, FairOrder>,
    by_age: BTreeMap<Arrival, (Priority, FlowId)>,
    /// Permits that passed here since the oldest had one, up to [`USUAL_PASSES`].
    passes: u8,
}

/// Who is next in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub flow: FlowId,
    pub priority: Priority,
    pub arrival: Arrival,
    /// It is its turn whatever its priority, and it has the right of way in the other lines that it passes.
    pub is_aged: bool,
}

/// Somebody who might go: from a line, or from the door, where it stood in none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comer<'a> {
    pub flow: FlowId,
    pub key: &'a FlowKey,
    pub arrival: Arrival,
    pub is_new: bool,
}

impl Standing {
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    pub fn stands(&self, arrival: Arrival) -> bool {
        self.by_age.contains_key(&arrival)
    }

    pub fn stand(&mut self, comer: Comer) {
        let Comer { flow, key, arrival, is_new } = comer;
        self.by_age.insert(arrival, (key.priority, flow));
        self.by_priority.entry(key.priority).or_default().stand(&key.consumer, arrival, flow, is_new);
    }

    /// The comer is to have the place later that it has now, though it stands elsewhere.
    pub fn keep_place(&mut self, comer: Comer) {
        let order = self.by_priority.entry(comer.key.priority).or_default();
        order.keep_place(&comer.key.consumer, comer.is_new);
    }

    pub fn leave(&mut self, key: &FlowKey, arrival: Arrival) {
        self.by_age.remove(&arrival);
        if let Some(order) = self.by_priority.get_mut(&key.priority) {
            order.leave(&key.consumer, arrival);
        }
    }

    /// A flow stays, and has another head.
    pub fn follow(&mut self, key: &FlowKey, old: Arrival, new: Arrival) {
        if let Some(who) = self.by_age.remove(&old) {
            self.by_age.insert(new, who);
        }
        if let Some(order) = self.by_priority.get_mut(&key.priority) {
            order.follow(&key.consumer, old, new);
        }
    }

    /// Who is next. Who arrived at `aged` or before has aged.
    pub fn next(&self, aged: ArrivedAt) -> Option<Next> {
        if let Some((&arrival, &(priority, flow))) = self.oldest_turn(aged) {
            return Some(Next { flow, priority, arrival, is_aged: true });
        }
        let (priority, ((_, arrival), flow)) = self.first()?;
        Some(Next { flow, priority, arrival, is_aged: false })
    }

    /// Whether one stands here that is to go before the comer.
    pub fn is_before(&self, comer: Comer, aged: ArrivedAt) -> bool {
        let Some((oldest, _)) = self.by_age.first_key_value() else { return false };
        // If it has aged, it is the turn of the oldest of all, the comer included.
        if self.passes >= USUAL_PASSES && comer.arrival.min(*oldest).at <= aged {
            return *oldest < comer.arrival;
        }
        let Some((priority, (place, flow))) = self.first() else { return false };
        if priority != comer.key.priority || flow == comer.flow {
            return priority > comer.key.priority;
        }
        let order = self.by_priority.get(&priority);
        order.is_some_and(|order| place < order.place(&comer.key.consumer, comer.arrival, comer.is_new))
    }

    /// The comer gets a permit for which it passes here.
    pub fn pass(&mut self, comer: Comer, amount: u64, weight: u32, aged: ArrivedAt) {
        let is_oldest = self.by_age.first_key_value().is_none_or(|(oldest, _)| comer.arrival <= *oldest);
        let is_turn_of_age = is_oldest && comer.arrival.at <= aged;
        self.passes = if is_turn_of_age { 0 } else { USUAL_PASSES.min(self.passes + 1) };
        let order = self.by_priority.entry(comer.key.priority).or_default();
        order.charge(&comer.key.consumer, amount, weight, comer.is_new);
    }

    /// The oldest, if it will be next as soon as it has aged and is not so already.
    pub fn next_by_age(&self, aged: ArrivedAt) -> Option<ArrivedAt> {
        let (oldest, _) = self.by_age.first_key_value()?;
        (self.passes >= USUAL_PASSES && oldest.at > aged).then_some(oldest.at)
    }

    fn oldest_turn(&self, aged: ArrivedAt) -> Option<(&Arrival, &(Priority, FlowId))> {
        let oldest = self.by_age.first_key_value().filter(|_| self.passes >= USUAL_PASSES);
        oldest.filter(|(arrival, _)| arrival.at <= aged)
    }

    fn first(&self) -> Option<(Priority, (super::fair::Place, FlowId))> {
        let mut orders = self.by_priority.iter().rev();
        orders.find_map(|(priority, order)| Some((*priority, order.first()?)))
    }
}
