//! How scripts show what becomes of those who wait.

use tollgate_limiter::{Answer, Denial, DenialReason, Grant, Outcome};
use tollgate_waiting::{Bound, Waiting};

pub fn answer(answer: &Answer) -> String {
    match answer {
        Ok(Outcome::Granted(granted)) => grant(granted),
        Ok(Outcome::Denied(denied)) => denial(denied),
        Ok(Outcome::Shared(result)) => {
            format!("has the result {:?}", String::from_utf8_lossy(result.bytes.as_slice()))
        }
        Ok(other) => format!("{other:?}"),
        Err(rejection) => format!("rejected ({rejection})"),
    }
}

fn grant(grant: &Grant) -> String {
    let verb = if grant.replayed { "replayed" } else { "granted" };
    let key = if grant.key.is_empty() { String::new() } else { format!(" with key {}", grant.key) };
    let alternative = match grant.alternative {
        0 => String::new(),
        alternative => format!(" by alternative {alternative}"),
    };
    format!("{verb} p{}{key}{alternative}", grant.permit.0)
}

fn denial(denial: &Denial) -> String {
    let limit = |of: &str| denial.limit.as_ref().map_or(String::new(), |limit| format!(" {of} {limit}"));
    let by = match &denial.reason {
        DenialReason::LimitExhausted => format!("for want{}", limit("of")),
        DenialReason::Paused { .. } => "for a pause".into(),
        DenialReason::KeyUnavailable => "for want of a key".into(),
        DenialReason::BudgetExhausted { .. } => format!("for want of a budget{}", limit("in")),
        DenialReason::OthersWait => format!("because others wait{}", limit("for")),
        DenialReason::CallUnderWay => "because another makes the call".into(),
        DenialReason::CircuitOpen { .. } => "for an open circuit".into(),
        DenialReason::Paced { .. } => "for its pace".into(),
    };
    let retry = denial.retry_after.map_or("no time to retry".into(), |retry| format!("retry after {retry}"));
    format!("denied {by} ({retry})")
}

pub fn bound(bound: &Bound) -> String {
    match bound {
        Bound::Resource { resource, max } => format!("{max} wait for {resource}"),
        Bound::Consumer { resource, consumer, max } => format!("{max} of {consumer} wait for {resource}"),
        Bound::Leader => "as many wait as the leader can hold".into(),
    }
}

pub fn waiting(waiting: &Waiting) -> String {
    let mut lines = vec![format!("{} wait", waiting.total)];
    lines.extend(waiting.consumers.iter().map(|own| {
        let consumer = if own.consumer.is_empty() { "nobody in particular" } else { own.consumer.as_str() };
        format!(
            "{consumer}: {} high, {} medium, {} low, the oldest for {}",
            own.high, own.medium, own.low, own.oldest
        )
    }));
    lines.join("\n")
}
