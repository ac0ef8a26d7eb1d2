//! Fair shares between the consumers of one priority that stand in one line: start-time fair queueing (Goyal, Vin, Cheng
//! 1996, "Start-time fair queueing").
//!
//! Each consumer has a tag, the virtual time at which its next request begins; the smallest goes first. When one goes, its
//! consumer's tag moves on by what it takes, divided by the weight: shares are by cost. Virtual time is the tag of the last
//! that went in its order. Who comes to wait begins there at the earliest, so that idle time earns nothing; and who comes
//! anew does not begin before those who stand here already, so that it can at best go after the first of them.
//!
//! Nothing is charged for standing here, so nothing is gained or lost by leaving.

#[cfg(test)]
mod consistency;

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::Label;

use super::{arrival::Arrival, flow::FlowId};

/// A moment of virtual time. Amounts are below 2^40 and scaled by 2^32: sums of 2^56 of them fit.
type Tag = u128;

/// What a unit costs at weight 1. Weights are up to 1,000, so that dividing by them loses nothing that matters.
const UNIT: Tag = 1 << 32;

/// Consumers remembered that are ahead of virtual time and have nobody here; beyond it, those that are ahead least are
/// forgotten, which forgives them that little.
const IDLE_MAX: usize = 1_024;

/// Who is next among consumers.
#[derive(Debug, Default)]
pub(crate) struct FairOrder {
    virtual_time: Tag,
    shares: BTreeMap<Label, Share>,
    /// Consumers that stand here, by tag and first arrival.
    order: BTreeSet<(Tag, Arrival, Label)>,
    /// Consumers that do not, and are ahead of virtual time.
    idle: BTreeSet<(Tag, Label)>,
}

/// One consumer's.
#[derive(Debug, Default)]
struct Share {
    tag: Tag,
    /// Its flows that stand here, by the arrival of their heads.
    flows: BTreeMap<Arrival, FlowId>,
}

/// Where somebody is in this order: the smaller first.
pub(crate) type Place = (Tag, Arrival);

impl FairOrder {
    /// Who is next.
    pub fn first(&self) -> Option<(Place, FlowId)> {
        let (tag, arrival, consumer) = self.order.first()?;
        let flow = self.shares.get(consumer)?.flows.get(arrival)?;
        Some(((*tag, *arrival), *flow))
    }

    /// Where a request of the consumer that arrived then would be.
    pub fn place(&self, consumer: &Label, arrival: Arrival, is_new: bool) -> Place {
        (self.tag(consumer, is_new), arrival)
    }

    /// A flow comes to stand here. It `is_new` when it stood nowhere before.
    pub fn stand(&mut self, consumer: &Label, arrival: Arrival, flow: FlowId, is_new: bool) {
        let tag = self.tag(consumer, is_new);
        self.change(consumer, |share| {
            share.tag = tag;
            share.flows.insert(arrival, flow);
        });
    }

    /// A flow that stands elsewhere may go past here later: it is then where it would have come to stand now. `is_new` as in
    /// [`FairOrder::stand`].
    pub fn keep_place(&mut self, consumer: &Label, is_new: bool) {
        let tag = self.tag(consumer, is_new);
        self.change(consumer, |share| share.tag = tag);
    }

    /// The flow whose head arrived then goes elsewhere.
    pub fn leave(&mut self, consumer: &Label, arrival: Arrival) {
        self.change(consumer, |share| {
            share.flows.remove(&arrival);
        });
    }

    /// A flow stays, and has another head.
    pub fn follow(&mut self, consumer: &Label, old: Arrival, new: Arrival) {
        self.change(consumer, |share| {
            if let Some(flow) = share.flows.remove(&old) {
                share.flows.insert(new, flow);
            }
        });
    }

    /// A request of the consumer goes, from here or past here, and takes so much.
    pub fn charge(&mut self, consumer: &Label, amount: u64, weight: u32, is_new: bool) {
        let start = self.tag(consumer, is_new);
        // One that goes before its tag is the smallest, because of its age, does not move the time of the others.
        let next = self.order.first().map_or(start, |(tag, _, _)| start.min(*tag));
        self.virtual_time = self.virtual_time.max(next);
        let cost = Tag::from(amount) * UNIT / Tag::from(weight.max(1));
        self.change(consumer, |share| share.tag = start + cost);
        self.forget();
    }

    fn tag(&self, consumer: &Label, is_new: bool) -> Tag {
        let share = self.shares.get(consumer);
        let own = share.map_or(0, |share| share.tag);
        if share.is_some_and(|share| !share.flows.is_empty()) {
            return own;
        }
        let first = self.order.first().filter(|_| is_new).map_or(0, |(tag, _, _)| *tag);
        own.max(self.virtual_time).max(first)
    }

    /// Changes a consumer's share and files it where it belongs then.
    fn change(&mut self, consumer: &Label, change: impl FnOnce(&mut Share)) {
        let mut share = self.shares.remove(consumer).unwrap_or_default();
        match share.flows.first_key_value() {
            Some((first, _)) => self.order.remove(&(share.tag, *first, consumer.clone())),
            None => self.idle.remove(&(share.tag, consumer.clone())),
        };
        change(&mut share);
        match share.flows.first_key_value() {
            Some((first, _)) => self.order.insert((share.tag, *first, consumer.clone())),
            None if share.tag > self.virtual_time => self.idle.insert((share.tag, consumer.clone())),
            None => return,
        };
        self.shares.insert(consumer.clone(), share);
    }

    /// Consumers that virtual time has caught up with are as good as new ones.
    fn forget(&mut self) {
        while let Some((tag, consumer)) = self.idle.first()
            && (*tag <= self.virtual_time || self.idle.len() > IDLE_MAX)
        {
            self.shares.remove(consumer);
            self.idle.pop_first();
        }
    }
}
