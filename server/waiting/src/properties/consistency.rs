//! What holds of the whole queue.

use std::collections::{BTreeMap, BTreeSet};

use crate::{WaiterId, WaitingQueue, arrival::Arrival, census::Census, flow::FlowId};

impl<C> WaitingQueue<C> {
    pub(super) fn check(&self) {
        let mut members: BTreeMap<(FlowId, Arrival), WaiterId> = BTreeMap::new();
        let (mut patience, mut by_request_id) = (BTreeSet::new(), BTreeSet::new());
        for (id, parked) in &self.waiters {
            let arrival = Arrival { at: parked.arrived_at, id: *id };
            members.extend(parked.flows.iter().map(|flow| ((*flow, arrival), *id)));
            let waiter = &parked.waiter;
            if !waiter.patience.is_zero() {
                let entered_at = parked.arrived_at.entered_at(waiter.waited_for);
                patience.insert((entered_at + waiter.patience, *id));
            }
            by_request_id.extend(waiter.acquire.request_id.clone().map(|request_id| (request_id, *id)));
        }
        assert_eq!((&self.patience, &self.by_request_id), (&patience, &by_request_id));
        let in_flows = self.fronts.values().flat_map(|front| front.members());
        assert_eq!(in_flows.collect::<BTreeSet<_>>(), members.keys().copied().collect());

        let mut dues = BTreeSet::new();
        for (name, front) in &self.fronts {
            front.check();
            assert!(!front.is_empty(), "nobody waits for {name}");
            assert_eq!(front.filed, front.next_due());
            assert_eq!(self.ready.contains(name), front.has_work(), "{name} is ready");
            dues.extend(front.next_due().map(|due| (due, name.clone())));
        }
        assert_eq!(self.dues, dues);
        assert!(self.ready.iter().all(|name| self.fronts.contains_key(name)));
        self.check_census();
    }

    fn check_census(&self) {
        for (name, front) in &self.fronts {
            let mut census = Census::default();
            for parked in self.waiters.values().filter(|parked| !parked.waiter.patience.is_zero()) {
                let acquire = &parked.waiter.acquire;
                let mut choices = acquire.choices().filter_map(|alternative| acquire.choice(alternative));
                if choices.any(|choice| choice.resource == *name) {
                    census.add(&acquire.consumer, acquire.priority);
                }
            }
            assert_eq!(format!("{:?}", front.census), format!("{census:?}"));
        }
    }

    /// Whether it has forgotten everything.
    pub(super) fn is_clean(&self) -> bool {
        let indexes = [self.patience.is_empty(), self.by_request_id.is_empty(), self.dues.is_empty()];
        self.waiters.is_empty() && self.fronts.is_empty() && self.ready.is_empty() && indexes == [true; 3]
    }
}
