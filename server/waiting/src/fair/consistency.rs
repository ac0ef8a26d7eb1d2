//! What holds of every order of consumers.

use super::*;

impl FairOrder {
    pub fn check(&self) {
        let standing = self.shares.iter().filter(|(_, share)| !share.flows.is_empty());
        let order = standing
            .map(|(consumer, share)| (share.tag, *share.flows.keys().next().unwrap(), consumer.clone()));
        assert_eq!(self.order, order.collect(), "consumers that stand here, by tag");
        let idle = self.shares.iter().filter(|(_, share)| share.flows.is_empty());
        assert_eq!(
            self.idle,
            idle.map(|(consumer, share)| (share.tag, consumer.clone())).collect(),
            "idle ones"
        );
        assert!(
            self.idle.iter().all(|(tag, _)| *tag > self.virtual_time),
            "an idle one that need not be known"
        );
    }

    pub fn standing(&self) -> BTreeMap<Arrival, FlowId> {
        self.shares.values().flat_map(|share| share.flows.clone()).collect()
    }
}
