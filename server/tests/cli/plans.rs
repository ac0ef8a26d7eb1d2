//! `tollgate plan`.

use crate::cluster::Cluster;

const RESOURCES: &str = r#"
[[resource]]
name = "plan/rate"
[[resource.limit]]
name = "per_second"
kind = "token_bucket"
capacity = 10
refill_amount = 10
refill_period = "1s"

[[resource]]
name = "plan/slots"
[[resource.limit]]
name = "concurrent"
kind = "concurrency"
slots = 5
"#;

#[test]
fn a_plan_tells_how_long_work_takes_and_changes_nothing() {
    let cluster = Cluster::start();
    cluster.define(RESOURCES);
    let plan = [
        "plan",
        "--records",
        "1010",
        "--consumer",
        "crm",
        "--priority",
        "low",
        "--step",
        "plan/rate:search",
        "--step",
        "plan/slots,batch=101,takes=2s",
    ];
    for _ in 0..2 {
        let text = cluster.tollgate(&plan).expect(0, "1,010 records take 1m 40s, done at 20");
        let text = text.expect(0, "plan/rate:search takes longest").expect(0, "per_second");
        assert!(text.stdout.contains("concurrent"), "{text:?}");
    }
    let json = cluster.tollgate(&[&plan[..], &["--output", "json"]].concat()).expect(0, "").json();
    assert_eq!((json["possible"].as_bool(), json["duration_seconds"].as_f64()), (Some(true), Some(100.0)));
    // Ten calls of two seconds in five slots.
    assert_eq!(json["steps"][1]["duration_seconds"].as_f64(), Some(4.0));
    assert_eq!(json["steps"][1]["limit"], "concurrent");
    assert!(json["done_at"].as_str().unwrap().ends_with('Z'), "{json}");
}

#[test]
fn a_plan_that_cannot_be_has_a_reason_and_an_exit_code() {
    let cluster = Cluster::start();
    cluster.define(RESOURCES);
    let planned = |step| cluster.tollgate(&["plan", "--records", "7", "--step", step]);
    planned("plan/rate,cost=11").expect(3, "7 records cannot be done").expect(3, "at most 10");
    planned("no/where").expect(5, "resource list");
    planned("plan/rate,key=red").expect(2, "steps[0].key");
    planned("plan/rate,calls=2,batch=2").expect(2, "steps[0].records_per_call");
    planned("plan/rate,speed=2").expect(2, "known are calls");
    cluster.tollgate(&["resource", "pause", "plan/rate"]).expect(0, "");
    planned("plan/rate").expect(3, "is paused until somebody resumes it");
}
