//! Calls in a few words, for traces.

use tollgate_limiter::Command;
use tollgate_server::raft::call::{Call, Query};

/// A call in a few words.
pub(super) fn brief(call: &Call) -> String {
    match call {
        Call::Command { command, attempt, .. } => format!("{} (try {attempt})", brief_command(command)),
        Call::Query(Query::Cluster) => "cluster".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A command in a few words.
pub(super) fn brief_command(command: &Command) -> String {
    match command {
        Command::Acquire(a) => {
            let id = a.request_id.as_ref().map_or("-", |id| id.as_str());
            format!("acquire {} cost {} for {} id {id}", a.resource, a.cost, a.consumer)
        }
        Command::Renew(renew) => format!("renew {}", renew.permit.0),
        Command::Release(end) => format!("release {} {:?} cost {:?}", end.permit.0, end.outcome, end.cost),
        Command::CreateResource(resource) => format!("create {}", resource.name),
        Command::UpdateResource(update) => format!("update {}", update.resource.name),
        other => format!("{other:?}"),
    }
}
