//! Pauses and the states of keys, before the real limiter.

use std::future::Future;

use prost_types::Duration;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use super::{limiter::limiter, *};
use crate::resource_file;

const NAME: &str = "vendor/keys";

const RESOURCE: &str = r#"
[[resource]]
name = "vendor/keys"
keys = ["blue", "green"]

[[resource.limit]]
name = "slots"
kind = "concurrency"
scope = "key"
slots = 2
"#;

async fn with_keys() -> (Rig, v1::Resource) {
    let rig = Rig::leading(limiter()).await;
    let resource = resource_file::read(RESOURCE).unwrap().remove(0);
    let request = v1::CreateResourceRequest { resource: Some(resource) };
    let created = rig.resources().create_resource(request).await.unwrap().into_inner();
    (rig, created)
}

async fn asked(rig: &Rig, key: &str) -> v1::acquire_permit_response::Decision {
    let request = v1::AcquirePermitRequest { resource: NAME.into(), key: key.into(), ..Default::default() };
    rig.permits().acquire_permit(request).await.unwrap().into_inner().decision.unwrap()
}

async fn granted(rig: &Rig, key: &str) -> v1::GrantedPermit {
    match asked(rig, key).await {
        v1::acquire_permit_response::Decision::Granted(granted) => granted,
        other => panic!("{other:?}"),
    }
}

async fn denied(rig: &Rig, key: &str) -> v1::DeniedPermit {
    match asked(rig, key).await {
        v1::acquire_permit_response::Decision::Denied(denied) => denied,
        other => panic!("{other:?}"),
    }
}

async fn pause(rig: &Rig, key: &str, duration: Option<Duration>) -> v1::Resource {
    let (name, key, reason) = (NAME.into(), key.into(), "deploy".into());
    let request = v1::PauseResourceRequest { name, key, duration, reason };
    rig.resources().pause_resource(request).await.unwrap().into_inner().resource.unwrap()
}

async fn set(rig: &Rig, key: &str, state: v1::KeyState) -> v1::Resource {
    let request = v1::SetKeyStateRequest { name: NAME.into(), key: key.into(), state: state.into() };
    rig.resources().set_key_state(request).await.unwrap().into_inner().resource.unwrap()
}

#[tokio::test]
async fn a_pause_denies_until_it_is_resumed_and_touches_no_permit() {
    let (rig, created) = with_keys().await;
    let permit = granted(&rig, "").await;
    let paused = pause(&rig, "", None).await;
    assert_eq!(paused.pause, Some(v1::Pause { left: None, reason: "deploy".into() }));
    assert_eq!(paused.generation, created.generation);
    let denial = denied(&rig, "").await;
    assert_eq!(denial.reason(), v1::DenialReason::Paused);
    assert_eq!((denial.pause, denial.retry_after, denial.limit.as_str()), (paused.pause, None, ""));

    let (permit_id, lease) = (permit.permit_id, None);
    let renew = v1::RenewPermitRequest { permit_id: permit_id.clone(), lease };
    rig.permits().renew_permit(renew).await.unwrap();
    let release = v1::ReleasePermitRequest { permit_id, ..Default::default() };
    rig.permits().release_permit(release).await.unwrap();

    // What was read with a pause can be written back: it is no part of the definition.
    let get = v1::GetResourceRequest { name: NAME.into() };
    let read = rig.resources().get_resource(get).await.unwrap().into_inner();
    assert!(read.pause.is_some());
    let edited = v1::Resource { description: "edited".into(), pause: None, ..read };
    let update = v1::UpdateResourceRequest { resource: Some(edited) };
    assert!(rig.resources().update_resource(update).await.unwrap().into_inner().pause.is_some());

    let resume = v1::ResumeResourceRequest { name: NAME.into(), key: String::new() };
    let resumed = rig.resources().resume_resource(resume).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(resumed.pause, None);
    granted(&rig, "").await;
}

#[tokio::test]
async fn a_paused_key_is_told_with_what_is_left() {
    let (rig, _) = with_keys().await;
    pause(&rig, "blue", Some(Duration { seconds: 3, nanos: 0 })).await;
    assert_eq!(granted(&rig, "").await.key, "green");
    let denial = denied(&rig, "blue").await;
    assert_eq!((denial.reason(), denial.paused_key.as_str()), (v1::DenialReason::Paused, "blue"));
    // The limiter's time goes on by a millisecond with each call.
    let left = Some(Duration { seconds: 2, nanos: 998_000_000 });
    assert_eq!((denial.retry_after, denial.pause.unwrap().left), (left, left));

    let usage = v1::GetResourceUsageRequest { name: NAME.into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(usage).await.unwrap().into_inner();
    let status = &usage.resource.unwrap().key_statuses[0];
    assert_eq!((status.key.as_str(), status.state()), ("blue", v1::KeyState::Active));
    assert_eq!(status.pause.as_ref().unwrap().left, Some(Duration { seconds: 2, nanos: 997_000_000 }));
}

#[tokio::test]
async fn draining_lets_permits_finish_and_disabling_does_not() {
    let (rig, _) = with_keys().await;
    let permit_id = granted(&rig, "blue").await.permit_id;
    let renew = v1::RenewPermitRequest { permit_id, lease: None };
    let draining = set(&rig, "blue", v1::KeyState::Draining).await;
    assert_eq!(draining.key_statuses[0].state(), v1::KeyState::Draining);
    assert_eq!(granted(&rig, "").await.key, "green");
    rig.permits().renew_permit(renew.clone()).await.unwrap();

    set(&rig, "blue", v1::KeyState::Disabled).await;
    let status = rig.permits().renew_permit(renew).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "KEY_DISABLED");
    let denial = denied(&rig, "blue").await;
    assert_eq!((denial.reason(), denial.retry_after), (v1::DenialReason::KeyUnavailable, None));
    assert_eq!(set(&rig, "blue", v1::KeyState::Active).await.key_statuses, []);
    granted(&rig, "blue").await;
}

#[tokio::test]
async fn wrong_orders_name_their_field() {
    let (rig, _) = with_keys().await;
    let (mut pausing, mut resuming, mut setting) = (rig.resources(), rig.resources(), rig.resources());
    let pause = |key: &str, seconds, reason: &str| {
        let duration = Some(Duration { seconds, nanos: 0 });
        let (name, key, reason) = (NAME.to_owned(), key.to_owned(), reason.to_owned());
        let mut client = pausing.clone();
        async move { client.pause_resource(v1::PauseResourceRequest { name, key, duration, reason }).await }
    };
    wrong(pause("red", 1, ""), "key").await;
    wrong(pause("", 0, ""), "duration").await;
    wrong(pause("", 401 * 86_400, ""), "duration").await;
    wrong(pause("", 1, "two\nlines"), "reason").await;
    wrong(pausing.pause_resource(v1::PauseResourceRequest::default()), "name").await;
    wrong(resuming.resume_resource(v1::ResumeResourceRequest::default()), "name").await;
    let set = |key: &str, state| v1::SetKeyStateRequest { name: NAME.into(), key: key.into(), state };
    wrong(setting.set_key_state(set("", 1)), "key").await;
    wrong(setting.set_key_state(set("red", 1)), "key").await;
    wrong(setting.set_key_state(set("blue", 0)), "state").await;
    wrong(setting.set_key_state(set("blue", 9)), "state").await;
}

async fn wrong<T>(call: impl Future<Output = Result<Response<T>, Status>>, field: &str) {
    let Err(status) = call.await else { panic!("{field} was accepted") };
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, field);
}
