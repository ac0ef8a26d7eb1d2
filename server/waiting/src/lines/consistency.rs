//! What holds of all lines of a resource.

use super::*;

impl Lines {
    pub fn check_all(&self) {
        let (mut agenda, mut dues, mut deserted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (line, watched) in &self.lines {
            watched.standing.check();
            assert_eq!(watched.standing.is_empty(), watched.deserted.is_some(), "{line:?} deserted");
            agenda.extend(watched.on_agenda.map(|urgency| (urgency, Task::Line(line.clone()))));
            dues.extend(watched.due.map(|due| (due, line.clone())));
            deserted.extend(watched.deserted.map(|since| (since, line.clone())));
            let next = self.next(line).map(|next| next.arrival);
            let is_settled = watched.looked_at == next;
            assert!(
                watched.standing.is_empty() || watched.on_agenda.is_some() || is_settled,
                "{line:?} is forgotten"
            );
            assert!(
                watched.on_agenda.is_none() || watched.due.is_none(),
                "{line:?} is on the agenda and due"
            );
        }
        let tasks = self.agenda.iter().filter(|(_, task)| matches!(task, Task::Line(_)));
        assert_eq!(tasks.cloned().collect::<BTreeSet<_>>(), agenda);
        assert_eq!((&self.dues, &self.deserted), (&dues, &deserted));
    }

    pub fn flows(&self) -> BTreeMap<FlowId, (Line, Arrival)> {
        let lines = self.lines.iter();
        lines
            .flat_map(|(line, watched)| {
                watched.standing.flows().map(move |(arrival, flow)| (flow, (line.clone(), arrival)))
            })
            .collect()
    }

    pub fn at_the_door(&self) -> BTreeMap<FlowId, Arrival> {
        let tasks = self.agenda.iter();
        tasks
            .filter_map(|((_, arrival), task)| match task {
                Task::Door(flow) => Some((*flow, *arrival)),
                Task::Line(_) | Task::Call(_) => None,
            })
            .collect()
    }

    /// Flows that are to be looked at where they stand, each by its head.
    pub fn called(&self) -> impl Iterator<Item = (FlowId, Arrival)> {
        self.agenda.iter().filter_map(|((_, arrival), task)| match task {
            Task::Call(flow) => Some((*flow, *arrival)),
            Task::Door(_) | Task::Line(_) => None,
        })
    }
}
