//! Calls and answers in a few words, for traces.

use tollgate_limiter::{Answer, Command, Grant, Outcome, Span};
use tollgate_server::raft::call::{Call, Query, Refusal, Reply};

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

/// What came of a call, in a few words.
pub(super) fn brief_result(result: &Result<Reply, Refusal>) -> String {
    match result {
        Ok(Reply::Answer { answer, waited }) if waited.is_zero() => brief_answer(answer),
        Ok(Reply::Answer { answer, waited }) => {
            format!("{}, after it had waited {}", brief_answer(answer), seconds(*waited))
        }
        Ok(other) => format!("{other:?}"),
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn brief_answer(answer: &Answer) -> String {
    match answer {
        Ok(Outcome::Granted(grant)) => brief_grant(grant),
        Ok(Outcome::Denied(denial)) => {
            let by = denial.limit.as_ref().map_or(String::new(), |limit| format!(" by {limit}"));
            let again = denial
                .retry_after
                .map_or("after an order".to_owned(), |span| format!("in {}", seconds(span)));
            format!("denied{by}: {:?}, again {again}", denial.reason)
        }
        Ok(Outcome::Renewed(lease)) => format!("renewed for {}", seconds(*lease)),
        other => format!("{other:?}"),
    }
}

fn brief_grant(grant: &Grant) -> String {
    let replay = if grant.replayed { " again" } else { "" };
    let slots: String =
        grant.slots.iter().map(|slot| format!(", place {} of {}", slot.index, slot.limit)).collect();
    let lease = grant.lease.map_or(String::new(), |lease| format!(", lease {}", seconds(lease)));
    format!("granted{replay}: permit {}{slots}{lease}", grant.permit.0)
}

fn seconds(span: Span) -> String {
    format!("{:.4} s", span.0 as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::{Denial, DenialReason};

    use super::*;

    #[test]
    fn answers_are_told_in_seconds() {
        let lease = Reply::from(Ok(Outcome::Renewed(Span::from_millis(1_500))));
        assert_eq!(brief_result(&Ok(lease)), "renewed for 1.5000 s");
        let denial = Denial {
            limit: None,
            exhausted: Vec::new(),
            retry_after: None,
            reason: DenialReason::LimitExhausted,
            alternative: 0,
        };
        let denied =
            Reply::Answer { answer: Box::new(Ok(Outcome::Denied(denial))), waited: Span::from_millis(20) };
        let told = "denied: LimitExhausted, again after an order, after it had waited 0.0200 s";
        assert_eq!(brief_result(&Ok(denied)), told);
    }
}
