//! What operators order: about keys and pauses, about results, and about members.

use proptest::{prelude::*, test_runner::TestCaseError};
use tollgate_limiter::{CoalesceKeys, Command, KeyState, Pause};
use tollgate_proto::v1;

use super::{
    super::{availability, cluster, coalesce, duration as wire_duration},
    duration, is_told, name, survives, text, variant,
};
use crate::{address::ADDRESS_MAX_BYTES, raft::call::Call};

/// That of a node, for the most part.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => "[a-z][a-z0-9.-]{0,11}:[1-9][0-9]{0,3}",
        3 => "[0-9]{1,3}(\\.[0-9]{1,3}){3}:[0-9]{1,5}",
        2 => "\\[[0-9a-f:]{1,20}\\]:[0-9]{1,5}",
        1 => Just(format!("{}:7600", "h".repeat(ADDRESS_MAX_BYTES))),
        1 => text(),
        1 => Just(String::new()),
    ]
}

prop_compose! {
    fn new_member()(
        id in prop_oneof![Just(0), 1..9u64, any::<u64>()],
        peer_address in address(),
        client_address in address(),
        http_address in address(),
    ) -> v1::AddMemberRequest {
        v1::AddMemberRequest { id, peer_address, client_address, http_address }
    }
}

proptest! {
    #[test]
    fn an_order_about_a_key_is_refused_by_its_fields_or_survives(name in name(), key in text(), state in variant()) {
        let request = v1::SetKeyStateRequest { name, key, state };
        let command = match availability::key_change(&request) {
            Ok(command) => command,
            Err(invalid) => return is_told(invalid, "SetKeyStateRequest"),
        };
        survives(&command)?;
        let Command::SetKeyState(order) = command else { return Err(TestCaseError::fail("another order")) };
        prop_assert_eq!(order.resource.as_str(), &request.name);
        prop_assert!(!request.key.is_empty());
        prop_assert_eq!(order.key.as_str(), &request.key);
        let state = match order.state {
            KeyState::Active => v1::KeyState::Active,
            KeyState::Draining => v1::KeyState::Draining,
            KeyState::Disabled => v1::KeyState::Disabled,
        };
        prop_assert_eq!(i32::from(state), request.state);
    }

    #[test]
    fn a_pause_is_refused_by_its_fields_or_survives(
        name in name(),
        key in text(),
        duration in duration(),
        reason in text(),
    ) {
        let request = v1::PauseResourceRequest { name, key, duration, reason };
        let command = match availability::pausing(&request) {
            Ok(command) => command,
            Err(invalid) => return is_told(invalid, "PauseResourceRequest"),
        };
        survives(&command)?;
        let Command::PauseResource(order) = command else { return Err(TestCaseError::fail("another order")) };
        prop_assert_eq!(order.resource.as_str(), &request.name);
        prop_assert_eq!(order.key.as_str(), &request.key);
        prop_assert!(order.pause.left.is_none_or(|left| (Pause::SHORTEST..=Pause::LONGEST).contains(&left)));
        prop_assert_eq!(order.pause.left.map(wire_duration), request.duration);
        prop_assert_eq!(order.pause.reason.as_str(), &request.reason);
    }

    #[test]
    fn the_end_of_a_pause_is_refused_by_its_fields_or_survives(name in name(), key in prop_oneof![Just(String::new()), text()]) {
        let request = v1::ResumeResourceRequest { name, key };
        let command = match availability::resumption(&request) {
            Ok(command) => command,
            Err(invalid) => return is_told(invalid, "ResumeResourceRequest"),
        };
        survives(&command)?;
        let Command::ResumeResource(order) = command else { return Err(TestCaseError::fail("another order")) };
        prop_assert_eq!((order.resource.as_str(), order.key.as_str()), (request.name.as_str(), request.key.as_str()));
        prop_assert_eq!(order.all_keys, request.key.is_empty());
    }

    #[test]
    fn an_invalidation_is_refused_by_its_fields_or_survives(resource in name(), text in text(), which in 0..3u8) {
        use v1::invalidate_results_request::Keys;
        let keys = match which {
            0 => None,
            1 => Some(Keys::Key(text.clone())),
            _ => Some(Keys::Prefix(text.clone())),
        };
        let request = v1::InvalidateResultsRequest { resource, keys };
        let command = match coalesce::invalidation(&request) {
            Ok(command) => command,
            Err(invalid) => return is_told(invalid, "InvalidateResultsRequest"),
        };
        survives(&command)?;
        let Command::InvalidateResults(order) = command else { return Err(TestCaseError::fail("another order")) };
        let read = match &order.keys {
            CoalesceKeys::One(key) => (1, key.as_str()),
            CoalesceKeys::With(prefix) => (2, prefix.as_str()),
        };
        prop_assert_eq!(read, (which, text.as_str()));
    }

    #[test]
    fn a_member_is_refused_by_its_fields_or_survives(request in new_member()) {
        let member = match cluster::new_member(request.clone()) {
            Ok(member) => member,
            Err(invalid) => return is_told(invalid, "AddMemberRequest"),
        };
        survives(&Call::AddMember(member.clone()))?;
        let read = v1::AddMemberRequest {
            id: member.id,
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            http_address: member.http_address.clone(),
        };
        prop_assert_eq!(&read, &request);
        prop_assert!(member.id > 0 && member.incarnation.is_none());
        let [peer, client, http] = [&member.peer_address, &member.client_address, &member.http_address];
        // They travel in headers.
        prop_assert!([peer, client, http].iter().all(|text| text.is_ascii() && text.len() <= ADDRESS_MAX_BYTES));
        prop_assert!(!peer.is_empty() && !client.is_empty() && peer != client && peer != http && client != http);
    }

    #[test]
    fn a_member_is_known_by_a_number_from_one_on(id in prop_oneof![Just(0), any::<u64>()]) {
        match cluster::member_id("id", id) {
            Ok(read) => prop_assert!(read == id && id > 0),
            Err(invalid) => is_told(invalid, "RemoveMemberRequest")?,
        }
    }
}
