//! What holds of everybody who waits for a resource.

use super::*;

impl Front {
    pub fn check(&self) {
        self.lines.check_all();
        let (mut standing, mut at_the_door) = (BTreeMap::new(), BTreeMap::new());
        for (id, flow) in &self.flows {
            assert_eq!(self.by_key.get(&flow.key), Some(id));
            let head = flow.head().expect("no flow is without a member");
            match &flow.stands {
                Some(line) => drop(standing.insert(*id, (line.clone(), head))),
                None => drop(at_the_door.insert(*id, head)),
            }
        }
        assert_eq!(self.by_key.len(), self.flows.len());
        let mut calls = Calls::default();
        self.flows.iter().for_each(|(id, flow)| calls.add(&flow.key, *id));
        assert_eq!(self.calls, calls);
        let is_there = |(flow, head)| standing.get(&flow).is_some_and(|(_, first)| *first == head);
        assert!(self.lines.called().all(is_there), "one is called that has left");
        assert_eq!(self.lines.flows(), standing);
        assert_eq!(self.lines.at_the_door(), at_the_door);
    }

    /// Who is next in each line, as candidates.
    pub fn all_next(&self) -> Vec<(Line, Candidate)> {
        let candidate = |(line, next): (&Line, Next)| {
            let key = self.flows[&next.flow].key.clone();
            let Next { flow, arrival, is_aged, .. } = next;
            (line.clone(), Candidate { flow, arrival, key, from: Some(line.clone()), is_aged })
        };
        self.lines.all_next().map(candidate).collect()
    }

    pub fn members(&self) -> impl Iterator<Item = (FlowId, Arrival)> {
        self.flows.iter().flat_map(|(id, flow)| flow.members.iter().map(|arrival| (*id, *arrival)))
    }
}
