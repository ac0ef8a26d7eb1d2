//! What vendors say of their limits, and of what others use.

use super::*;

#[tokio::test]
async fn figures_tighten_and_tell_what_others_use() {
    let rig = rig().await;
    let permit = granted(&rig, "hubspot/acme", "").await;
    let header = |name: &str, value: &str| (format!("X-HubSpot-RateLimit-{name}"), value.to_owned());
    let headers = BTreeMap::from([
        header("Interval-Milliseconds", "10000"),
        header("Max", "120"),
        header("Remaining", "90"),
    ]);
    let release = v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        feedback: Some(v1::VendorFeedback { status: 200, headers, ..Default::default() }),
        ..Default::default()
    };
    rig.permits().release_permit(release).await.unwrap();

    let request = v1::GetResourceUsageRequest { name: "hubspot/acme".into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(request).await.unwrap().into_inner();
    let resource = usage.resource.unwrap();
    assert_eq!(resource.tightened.len(), 1, "{:?}", resource.tightened);
    let told = resource.tightened[0].clone();
    assert_eq!((told.limit.as_str(), told.defined, told.amount, told.told), ("ten-seconds", 190, 120, 120));
    assert!(told.told_ago.is_some());
    let limit = usage.limits.iter().find(|limit| limit.limit == "ten-seconds").unwrap();
    let counter = &limit.counters[0];
    assert_eq!((counter.amount, counter.used_by_others, counter.available), (120, 29, 90));
}

#[tokio::test]
async fn a_limit_that_the_vendor_has_raised_is_shown() {
    let rig = rig().await;
    let permit = granted(&rig, "hubspot/acme", "").await;
    let headers =
        [("X-HubSpot-RateLimit-Daily", "1000000"), ("X-HubSpot-RateLimit-Daily-Remaining", "999999")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let feedback = v1::VendorFeedback { status: 200, headers, ..Default::default() };
    released(&rig, permit, v1::Outcome::Unspecified, feedback).await;
    let request = v1::GetResourceRequest { name: "hubspot/acme".into() };
    let tightened = rig.resources().get_resource(request).await.unwrap().into_inner().tightened;
    assert_eq!(tightened.len(), 1, "{tightened:?}");
    let told = &tightened[0];
    assert_eq!(
        (told.limit.as_str(), told.defined, told.amount, told.told),
        ("daily", 625_000, 625_000, 1_000_000)
    );
}

#[tokio::test]
async fn a_call_weighs_what_the_vendor_says_that_it_cost() {
    let rig = rig().await;
    let permit = granted(&rig, "salesloft/acme", "").await;
    let headers = BTreeMap::from([("X-RateLimit-Endpoint-Cost".to_owned(), "10".to_owned())]);
    let feedback = v1::VendorFeedback { status: 200, headers, ..Default::default() };
    released(&rig, permit, v1::Outcome::Unspecified, feedback).await;
    let request = v1::GetResourceUsageRequest { name: "salesloft/acme".into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(request).await.unwrap().into_inner();
    assert_eq!(usage.limits[0].counters[0].available, 590);
}
