//! What an operator wants to read in the log of a node at night: who leads, since which term, who belongs, and which vendors are
//! left alone.

use std::fmt::{self, Display, Formatter};

use tollgate_limiter::{CircuitState, CircuitStatus, CircuitTurn};
use tracing::{
    field::{debug, display},
    info, warn,
};

use super::super::{door::Status, members::NodeId};

/// One change between two [`Status`]es.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Leads { here: bool, leader: NodeId, term: u64 },
    NobodyLeads { term: u64 },
    Members(Vec<NodeId>),
}

/// Logs what changed.
pub(super) fn tell(before: &Status, after: &Status) {
    for news in changes(before, after) {
        match news {
            News::NobodyLeads { .. } => warn!("{news}"),
            News::Leads { .. } | News::Members(_) => info!("{news}"),
        }
    }
}

/// Logs that a circuit opened or closed.
pub(super) fn tell_turn(CircuitTurn { resource, key, circuit }: &CircuitTurn) {
    let CircuitStatus { times_opened: times, failures_in_row, calls, failures, .. } = circuit;
    let (open_for, last) = (circuit.open_for.map(display), circuit.opened_by.map(debug));
    match circuit.state {
        CircuitState::Closed => info!(%resource, %key, times, open_for, "a circuit has closed"),
        CircuitState::Open | CircuitState::HalfOpen => {
            let left = display(circuit.left);
            warn!(
                %resource, %key, times, open_for, last, failures_in_row, failures, calls, left,
                "a circuit has opened"
            );
        }
    }
}

fn changes(before: &Status, after: &Status) -> Vec<News> {
    let mut news = Vec::new();
    if !before.members.by_id.keys().eq(after.members.by_id.keys()) {
        news.push(News::Members(after.members.by_id.keys().copied().collect()));
    }
    // The same node may lead again after an election; that is another leadership.
    let leadership = |status: &Status| status.leader.map(|leader| (leader, status.term));
    match (leadership(before), leadership(after)) {
        (Some(_), None) => news.push(News::NobodyLeads { term: after.term }),
        (was, Some((leader, term))) if was != Some((leader, term)) => {
            news.push(News::Leads { here: leader == after.id, leader, term });
        }
        _ => {}
    }
    news
}

impl Display for News {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            News::Leads { here: true, leader, term } => {
                write!(f, "this node ({leader}) leads since term {term}")
            }
            News::Leads { here: false, leader, term } => write!(f, "node {leader} leads since term {term}"),
            News::NobodyLeads { term } => {
                write!(f, "no leader is known in term {term}: nothing is granted until one is elected")
            }
            News::Members(ids) => write!(f, "the members are the nodes {ids:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::raft::members::{Member, Members};

    fn status(leader: Option<NodeId>, term: u64, members: &[NodeId]) -> Status {
        let member = |id| Member {
            id,
            peer_address: String::new(),
            client_address: String::new(),
            http_address: String::new(),
            incarnation: None,
        };
        let by_id = members.iter().map(|id| (*id, member(*id))).collect();
        Status {
            id: 1,
            leader,
            term,
            members: Arc::new(Members { by_id, ..Members::default() }),
            ..Status::default()
        }
    }

    #[test]
    fn leaders_and_members_that_come_and_go_are_news() {
        let told = |before: &Status, after: &Status| {
            changes(before, after).iter().map(News::to_string).collect::<Vec<_>>()
        };
        let born = Status::default();
        let alone = status(None, 1, &[1]);
        let follows = status(Some(2), 2, &[1]);
        assert_eq!(told(&born, &alone), ["the members are the nodes [1]"]);
        assert_eq!(told(&alone, &follows), ["node 2 leads since term 2"]);
        let lost = status(None, 2, &[1]);
        assert_eq!(
            told(&follows, &lost),
            ["no leader is known in term 2: nothing is granted until one is elected"]
        );
        let leads = status(Some(1), 3, &[1, 4]);
        assert_eq!(
            told(&lost, &leads),
            ["the members are the nodes [1, 4]", "this node (1) leads since term 3"]
        );
        // Re-elected within one look.
        assert_eq!(told(&leads, &status(Some(1), 4, &[1, 4])), ["this node (1) leads since term 4"]);
    }

    #[test]
    fn elections_without_a_result_and_progress_are_no_news() {
        let before = status(None, 1, &[1]);
        let after = Status { applied_index: 9, commit_index: 9, ..status(None, 7, &[1]) };
        assert_eq!(changes(&before, &after), []);
    }
}
