//! What all calls have in common: the deadline that comes with them, and what goes with every answer.

use std::time::Duration;

use tonic::{
    Code, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use super::status::{Failure, code_name};
use crate::{metrics::CallLabels, node::Node};

/// The deadline of a call that comes without one; what it may wait comes on top.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The longest deadline that is honoured; nothing is worth a longer wait.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// The transports of both sides cut a call off at its deadline without details. Ours comes earlier, by a tenth of the time
/// within these bounds, and says what is known. A busy node polls its timers late, and the answer has to travel: with
/// less than the least margin nobody would read it. More than the greatest is time that the cluster could still have used.
const MARGIN_MIN: Duration = Duration::from_millis(5);
const MARGIN_MAX: Duration = Duration::from_millis(100);

/// The wait for a turn ends before the answer is due, by a tenth of the time within these bounds: the denial, which says
/// what was waited for, is still to be made on the leader and may have to come from another node.
const DENIAL_MARGIN_MIN: Duration = Duration::from_millis(10);
const DENIAL_MARGIN_MAX: Duration = Duration::from_millis(250);

const LEADER: &str = "tollgate-leader";
const LEADER_ID: &str = "tollgate-leader-id";

/// How long the caller of a call that is decided at once waits, by its `grpc-timeout`.
pub fn timeout(metadata: &MetadataMap) -> Duration {
    timeout_waiting(metadata, Duration::ZERO)
}

/// How long the caller waits, by the call's `grpc-timeout`, when what it asks for may wait for `max_wait`.
pub fn timeout_waiting(metadata: &MetadataMap, max_wait: Duration) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
    let timeout = asked.map_or(TIMEOUT_DEFAULT + max_wait, |asked| asked.min(TIMEOUT_MAX));
    // A very short deadline leaves half of its time for the decision.
    timeout - (timeout / 10).clamp(MARGIN_MIN, MARGIN_MAX).min(timeout / 2)
}

/// How long a request may wait for its turn, so that a denial is answered within `timeout`.
pub fn patience(timeout: Duration) -> Duration {
    timeout - (timeout / 10).clamp(DENIAL_MARGIN_MIN, DENIAL_MARGIN_MAX).min(timeout / 2)
}

/// At most 8 digits and a unit, as the gRPC specification has it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Answers a call: counts it, and names the leader, on errors too.
pub fn answer<T>(
    node: &Node,
    method: &'static str,
    result: Result<T, Failure>,
) -> Result<Response<T>, Status> {
    let code = result.as_ref().map_or_else(Failure::code, |_| Code::Ok);
    node.metrics.calls.get_or_create(&CallLabels { method, code: code_name(code) }).inc();
    match result {
        Ok(message) => {
            let mut response = Response::new(message);
            name_leader(node, response.metadata_mut());
            Ok(response)
        }
        Err(failure) => {
            let mut status = failure.into_status();
            name_leader(node, status.metadata_mut());
            Err(status)
        }
    }
}

fn name_leader(node: &Node, metadata: &mut MetadataMap) {
    let status = node.status.borrow();
    let Some(leader) = status.leader else { return };
    metadata.insert(LEADER_ID, MetadataValue::<Ascii>::from(leader));
    let address = status.members.by_id.get(&leader).map(|member| member.client_address.as_str());
    // An address that was checked is ASCII.
    if let Some(address) = address.and_then(|address| address.parse::<MetadataValue<Ascii>>().ok()) {
        metadata.insert(LEADER, address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_specification_writes_them() {
        let cases = [
            ("3H", Some(Duration::from_secs(10_800))),
            ("2M", Some(Duration::from_secs(120))),
            ("42S", Some(Duration::from_secs(42))),
            ("13m", Some(Duration::from_millis(13))),
            ("2u", Some(Duration::from_micros(2))),
            ("82n", Some(Duration::from_nanos(82))),
            ("", None),
            ("S", None),
            ("+1S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("1ü", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_call_without_a_deadline_is_given_one_and_none_is_endless() {
        let mut metadata = MetadataMap::new();
        assert_eq!(timeout(&metadata), TIMEOUT_DEFAULT - MARGIN_MAX);
        metadata.insert("grpc-timeout", "99999999H".parse().unwrap());
        assert_eq!(timeout(&metadata), TIMEOUT_MAX - MARGIN_MAX);
    }

    #[test]
    fn the_answer_comes_before_the_transport_gives_up() {
        for (asked, millis) in [("0m", 0), ("2m", 1), ("20m", 15), ("200m", 180), ("1S", 900), ("2S", 1900)] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", asked.parse().unwrap());
            assert_eq!(timeout(&metadata), Duration::from_millis(millis), "{asked}");
        }
    }
}
