//! What holds of every line.

use super::*;

impl Standing {
    pub fn check(&self) {
        let mut by_age = BTreeMap::new();
        for (priority, order) in &self.by_priority {
            order.check();
            by_age.extend(order.standing().into_iter().map(|(arrival, flow)| (arrival, (*priority, flow))));
        }
        assert_eq!(self.by_age, by_age, "by age and by rank");
    }

    pub fn flows(&self) -> impl Iterator<Item = (Arrival, FlowId)> {
        self.by_age.iter().map(|(arrival, (_, flow))| (*arrival, *flow))
    }
}
