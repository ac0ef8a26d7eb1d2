//! `tollgate acquire`, `renew` and `release` by hand.

use crate::cluster::Cluster;

const LIMITS: &str = r#"
[[resource]]
name = "test/slots"
[[resource.limit]]
name = "concurrent"
kind = "concurrency"
slots = 1
lease_default = "60s"
lease_max = "2m"

[[resource]]
name = "test/bucket"
[[resource.limit]]
name = "hourly"
kind = "token_bucket"
capacity = 3
refill_amount = 3
refill_period = "1h"
"#;

#[test]
fn exit_codes_tell_answers_apart() {
    let cluster = Cluster::start();
    cluster.define(LIMITS);
    let json = |args: &[&str]| cluster.tollgate(&[args, &["--output", "json"]].concat());

    // Granted, then denied by the one slot.
    let permit = json(&["acquire", "test/slots"]).expect(0, "granted").json();
    let id = permit["permit_id"].as_str().unwrap();
    assert_eq!(permit["slots"][0]["limit"], "concurrent");
    assert!(permit["lease_seconds"].as_f64().unwrap() > 30.0);
    let denial = json(&["acquire", "test/slots"]).expect(3, "denied").json();
    assert_eq!(denial["limit"], "concurrent");
    assert!(denial["retry_after_seconds"].as_f64().unwrap() > 0.0);
    cluster.tollgate(&["acquire", "test/slots"]).expect(3, "denied by concurrent: ask again in");

    // Renewed and released once; after that it never revives.
    json(&["renew", id, "--lease", "90s"]).expect(0, "lease_seconds");
    cluster.tollgate(&["renew", id, "--lease", "1h"]).expect(2, "lease");
    cluster.tollgate(&["release", id]).expect(0, &format!("released {id}"));
    cluster.tollgate(&["release", id]).expect(6, "error");
    cluster.tollgate(&["renew", id]).expect(6, "error");
    cluster.tollgate(&["renew", "p0-ffffff"]).expect(5, "error");
    cluster.tollgate(&["acquire", "test/slots"]).expect(0, "granted");

    // What is wrong names the field.
    cluster.tollgate(&["acquire", "no/such"]).expect(5, "resource list");
    cluster.tollgate(&["acquire", "test/bucket", "--cost", "0"]).expect(2, "cost");
    cluster.tollgate(&["acquire", "test/bucket", "--cost", "4"]).expect(2, "cost");
    cluster.tollgate(&["acquire", "test/bucket", "--amount", "tokens=1"]).expect(2, "amounts");
    cluster.tollgate(&["acquire", "test/bucket", "--cost", "many"]).expect(2, "--cost");
}

#[test]
fn a_permit_that_no_limit_counts_is_told_of() {
    let cluster = Cluster::start();
    cluster.define(
        r#"
[[resource]]
name = "test/searches"
[[resource.limit]]
name = "search"
kind = "token_bucket"
capacity = 3
refill_amount = 3
refill_period = "1h"
operations = ["search"]
"#,
    );
    let acquire = |args: &[&str]| cluster.tollgate(&[&["acquire", "test/searches"], args].concat());
    acquire(&["--operation", "serach"])
        .expect(0, "granted")
        .expect(0, "no limit applies to operation \"serach\": it counts nowhere");
    let unnamed = acquire(&["--output", "json"]).expect(0, "a call that names no operation: it counts");
    assert_eq!(unnamed.json()["usage"], serde_json::json!([]));
    let counted = acquire(&["--operation", "search"]).expect(0, "left            2 of 3 search");
    assert_eq!(counted.stderr, "");
}

#[test]
fn the_first_resource_with_room_is_taken() {
    let cluster = Cluster::start();
    cluster.define(LIMITS);
    let either = ["acquire", "test/slots", "--or", "test/bucket:search"];
    cluster.tollgate(&either).expect(0, "for test/slots");
    let json = |args: &[&str]| cluster.tollgate(&[args, &["--output", "json"]].concat());
    let second = json(&either).expect(0, "granted").json();
    assert_eq!((&second["resource"], &second["waited_seconds"]), (&"test/bucket".into(), &0.0.into()));

    cluster.tollgate(&["acquire", "test/bucket", "--cost", "2"]).expect(0, "granted");
    // The slot's lease ends before the bucket has a token again.
    let denial = json(&either).expect(3, "denied").json();
    assert_eq!((&denial["resource"], &denial["budget"]), (&"test/slots".into(), &serde_json::Value::Null));
    cluster.tollgate(&either).expect(3, "test/slots: denied by concurrent: ask again in");

    cluster.tollgate(&["acquire", "test/slots", "--or", "no/such"]).expect(5, "alternatives[0] is no/such");
    cluster.tollgate(&["acquire", "test/slots", "--or", "test/slots"]).expect(2, "alternatives[0].resource");
    cluster.tollgate(&["acquire", "test/slots", "--or", "test/bucket:"]).expect(2, "--or");
    cluster.tollgate(&["acquire", "test/slots", "--max-wait", "2h"]).expect(2, "max_wait");
}

#[test]
fn a_repeated_request_spends_once_and_another_body_is_refused() {
    let cluster = Cluster::start();
    cluster.define(LIMITS);
    let acquire = ["acquire", "test/bucket", "--cost", "2", "--request-id", "job-17", "--output", "json"];
    let first = cluster.tollgate(&acquire).expect(0, "").json();
    let again = cluster.tollgate(&acquire).expect(0, "").json();
    assert_eq!(first["permit_id"], again["permit_id"]);
    assert_eq!((&first["replayed"], &again["replayed"]), (&false.into(), &true.into()));
    cluster.tollgate(&["acquire", "test/bucket", "--request-id", "job-17"]).expect(6, "--request-id");

    // A call that never left gives back what it took.
    cluster.tollgate(&["acquire", "test/bucket", "--cost", "2"]).expect(3, "hourly");
    let id = first["permit_id"].as_str().unwrap();
    cluster.tollgate(&["release", id, "--outcome", "not-sent"]).expect(0, "released");
    cluster.tollgate(&["acquire", "test/bucket", "--cost", "3"]).expect(0, "granted");
}
