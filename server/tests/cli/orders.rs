//! `tollgate resource pause`, `resume` and `key`.

use crate::cluster::Cluster;

const RESOURCE: &str = r#"
[[resource]]
name = "test/keys"
keys = ["blue", "green"]
[[resource.limit]]
name = "concurrent"
kind = "concurrency"
scope = "key"
slots = 2
"#;

#[test]
fn orders_hold_without_touching_the_definition() {
    let mut cluster = Cluster::start();
    cluster.define(RESOURCE);
    let resource = ["resource", "get", "test/keys"];
    let generation =
        cluster.tollgate(&[&resource[..], &["--output", "json"]].concat()).json()["generation"].clone();

    // A key with an end, the resource without.
    cluster
        .tollgate(&[
            "resource",
            "pause",
            "test/keys",
            "--key",
            "blue",
            "--for",
            "1h",
            "--reason",
            "throttled",
        ])
        .expect(0, "key blue: active, paused for")
        .expect(0, "(throttled)");
    cluster.tollgate(&["acquire", "test/keys"]).expect(0, "green");
    let blue = ["acquire", "test/keys", "--key", "blue"];
    cluster.tollgate(&blue).expect(3, "key \"blue\" is paused (throttled): ask again in");
    cluster.tollgate(&["resource", "pause", "test/keys"]).expect(0, "paused until it is resumed");
    cluster.tollgate(&["acquire", "test/keys"]).expect(3, "the resource is paused until an operator");
    let denial = cluster.tollgate(&["acquire", "test/keys", "--output", "json"]).expect(3, "").json();
    assert_eq!((&denial["reason"], &denial["limit"]), (&"paused".into(), &"".into()));
    assert!(denial["retry_after_seconds"].is_null());

    // They survive a restart of the whole cluster, and a deployment of the definition.
    cluster.restart();
    cluster.define(RESOURCE);
    let usage = cluster.tollgate(&["resource", "usage", "test/keys", "--output", "json"]).json();
    assert_eq!(usage["pause"]["reason"], "");
    assert_eq!(usage["key_statuses"][0]["pause"]["reason"], "throttled");
    cluster.tollgate(&["resource", "usage", "test/keys"]).expect(0, "paused until it is resumed");
    cluster
        .tollgate(&["resource", "resume", "test/keys", "--key", "blue"])
        .expect(0, "the resource is still paused: resume it without --key");
    cluster
        .tollgate(&["resource", "pause", "test/keys", "--key", "blue"])
        .expect(0, "key blue: active, paused until it is resumed");
    cluster
        .tollgate(&["resource", "resume", "test/keys"])
        .expect(0, "key blue is still paused: resume it with --key blue");
    let nothing = "test/keys is resumed: nothing is held back any more";
    cluster.tollgate(&["resource", "resume", "test/keys", "--key", "blue"]).expect(0, nothing);
    cluster.tollgate(&blue).expect(0, "granted");

    cluster.tollgate(&["resource", "key", "test/keys", "blue", "draining"]).expect(0, "key blue: draining");
    cluster.tollgate(&resource).expect(0, "# key blue: draining");
    cluster.tollgate(&blue).expect(3, "no key is active");
    let active = ["resource", "key", "test/keys", "blue", "active", "--output", "json"];
    let after = cluster.tollgate(&active).expect(0, "").json();
    assert_eq!((&after["generation"], &after["key_statuses"]), (&generation, &serde_json::json!([])));

    cluster.tollgate(&["resource", "pause", "test/keys", "--key", "red"]).expect(2, "key");
    cluster.tollgate(&["resource", "pause", "no/such"]).expect(5, "error");
    let active = ["resource", "key", "test/keys", "green", "active"];
    cluster.tollgate(&active).expect(0, "nothing is paused, and all keys are active");
    cluster.tollgate(&["resource", "key", "test/keys", "blue", "gone"]).expect(2, "draining");
}
