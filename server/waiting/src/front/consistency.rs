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

    /// All that stand in a line, as candidates, and whether they are next in it.
    pub fn all_standing(&self) -> impl Iterator<Item = (&Line, Candidate, bool)> {
        self.flows.iter().filter_map(|(id, flow)| {
            let (line, arrival, key) = (flow.stands.as_ref()?, flow.head()?, flow.key.clone());
            let next = self.lines.next(line).filter(|next| next.flow == *id);
            let is_aged = next.is_some_and(|next| next.is_aged);
            let from = Some(line.clone());
            let candidate = Candidate { flow: *id, arrival, key, from, is_aged };
            Some((line, candidate, next.is_some()))
        })
    }

    /// Whether nothing but time may have let it go, and that is not waited for for long.
    pub fn is_looked_at_soon(&self, candidate: &Candidate) -> bool {
        let (line, due) = self.standing(candidate.flow);
        let is_by_time = !candidate.key.signature.pins_key() || matches!(line, Some(Line::Ration { .. }));
        is_by_time && due.is_some_and(|due| due <= RELOOK)
    }

    pub fn members(&self) -> impl Iterator<Item = (FlowId, Arrival)> {
        self.flows.iter().flat_map(|(id, flow)| flow.members.iter().map(|arrival| (*id, *arrival)))
    }
}
