//! Plans, before the real limiter.

use prost_types::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{limiter::limiter, *};
use crate::resource_file;

const RESOURCES: &str = r#"
[[resource]]
name = "hubspot/acme"
[[resource.limit]]
name = "ten_seconds"
kind = "fixed_window"
amount = 190
period = "10s"
[[resource.limit]]
name = "daily"
kind = "fixed_window"
amount = 250000
period = "24h"
anchor = "midnight"

[[resource]]
name = "salesforce/acme"
[[resource.limit]]
name = "concurrent"
kind = "concurrency"
slots = 25
"#;

async fn with_resources() -> Rig {
    let rig = Rig::leading(limiter()).await;
    for resource in resource_file::read(RESOURCES).unwrap() {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(request).await.unwrap();
    }
    rig
}

fn step(resource: &str) -> v1::WorkStep {
    v1::WorkStep { resource: resource.into(), ..Default::default() }
}

fn work(records: u64, steps: Vec<v1::WorkStep>) -> v1::EstimateWorkRequest {
    v1::EstimateWorkRequest { records, steps, ..Default::default() }
}

async fn planned(rig: &Rig, request: v1::EstimateWorkRequest) -> Result<v1::EstimateWorkResponse, Status> {
    rig.plans().estimate_work(request).await.map(tonic::Response::into_inner)
}

fn seconds(duration: Option<Duration>) -> f64 {
    let duration = duration.unwrap();
    duration.seconds as f64 + f64::from(duration.nanos) / 1e9
}

#[tokio::test]
async fn a_plan_tells_how_long_each_step_takes_and_what_holds_it_up() {
    let rig = with_resources().await;
    let batches = v1::WorkStep { records_per_call: 200, ..step("hubspot/acme") };
    let two_seconds = Some(Duration { seconds: 2, nanos: 0 });
    let slots = v1::WorkStep { call_duration: two_seconds, calls_per_record: 2, ..step("salesforce/acme") };
    let plan = planned(&rig, work(50_000, vec![step("hubspot/acme"), slots, batches])).await.unwrap();
    assert!(plan.possible);
    let calls: Vec<u64> = plan.steps.iter().map(|step| step.calls).collect();
    assert_eq!(calls, [50_000, 100_000, 250]);
    // 100,000 calls of two seconds in 25 slots.
    assert_eq!((plan.binding_step, seconds(plan.duration)), (1, 8_000.0));
    let limits: Vec<&str> = plan.steps.iter().map(|step| step.limit.as_str()).collect();
    assert_eq!(limits, ["ten_seconds", "concurrent", "ten_seconds"]);
    // 50,250 calls take 265 windows, the last of which opens after 2,640 s, give or take the skew of clocks.
    let first = seconds(plan.steps[0].duration);
    assert!((2_629.0..=2_641.0).contains(&first), "{first}");
    let done_at = plan.done_at.unwrap();
    assert!((8_000..8_001).contains(&done_at.seconds), "{done_at:?}");
    assert_eq!(plan.steps[0].first_call_after, Some(Duration { seconds: 0, nanos: 0 }));
}

#[tokio::test]
async fn what_can_never_be_done_is_an_answer() {
    let rig = with_resources().await;
    let heavy = v1::WorkStep { cost: Some(300_000), ..step("hubspot/acme") };
    let plan = planned(&rig, work(3, vec![step("salesforce/acme"), heavy])).await.unwrap();
    assert_eq!((plan.possible, plan.duration, plan.done_at, plan.binding_step), (false, None, None, 1));
    assert_eq!(plan.steps[1].limit, "ten_seconds");
    assert!(plan.steps[1].impossible.contains("ever grants"), "{}", plan.steps[1].impossible);
    assert!(plan.steps[0].impossible.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_field() {
    let rig = with_resources().await;
    let edited = |edit: fn(&mut v1::WorkStep)| {
        let mut wrong = step("hubspot/acme");
        edit(&mut wrong);
        work(1, vec![step("hubspot/acme"), wrong])
    };
    let day_and_a_bit = Some(Duration { seconds: 86_401, nanos: 0 });
    let cases = [
        (work(0, vec![step("hubspot/acme")]), "records"),
        (work(1_000_000_001, vec![step("hubspot/acme")]), "records"),
        (work(1, vec![]), "steps"),
        (work(1, vec![step("hubspot/acme"); 17]), "steps"),
        (v1::EstimateWorkRequest { priority: 9, ..work(1, vec![step("hubspot/acme")]) }, "priority"),
        (
            v1::EstimateWorkRequest { consumer: "a\nb".into(), ..work(1, vec![step("hubspot/acme")]) },
            "consumer",
        ),
        (edited(|step| step.resource = "No".into()), "steps[1].resource"),
        (edited(|step| step.calls_per_record = 1001), "steps[1].calls_per_record"),
        (edited(|step| step.records_per_call = 10_001), "steps[1].records_per_call"),
        (edited(|step| (step.calls_per_record, step.records_per_call) = (2, 2)), "steps[1].records_per_call"),
        (edited(|step| step.cost = Some(0)), "steps[1].cost"),
        (edited(|step| step.key = "red".into()), "steps[1].key"),
        (edited(|step| step.amounts = [("tokens".into(), 1)].into()), "steps[1].amounts[\"tokens\"]"),
    ];
    for (request, field) in cases {
        let status = planned(&rig, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let mut long = step("hubspot/acme");
    long.call_duration = day_and_a_bit;
    let status = planned(&rig, work(1, vec![long])).await.unwrap_err();
    assert!(status.message().contains("call_duration"), "{status:?}");

    let status = planned(&rig, work(1, vec![step("hubspot/acme"), step("no/where")])).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().starts_with("no/where"), "{status:?}");
}
