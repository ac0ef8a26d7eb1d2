//! `tollgate resource`.

use crate::cluster::Cluster;

const ONE: &str = r#"
[[resource]]
name = "test/one"

[[resource.limit]]
name = "daily"
kind = "sliding_window"
amount = 1_000
period = "24h"
"#;

#[test]
fn applying_shows_what_changes_and_is_idempotent() {
    let cluster = Cluster::start();
    let file = cluster.file("one.toml", ONE);
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    let dry_run = [&apply[..], &["--dry-run"]].concat();

    // What is not there is created, but not by a dry run.
    cluster.tollgate(&dry_run).expect(0, "would create test/one").expect(0, "+ amount = 1000");
    cluster.tollgate(&["resource", "get", "test/one"]).expect(5, "resource list");
    cluster.tollgate(&apply).expect(0, "created test/one");
    cluster.tollgate(&apply).expect(0, "unchanged test/one");

    // What differs is updated, and says in what.
    let file = cluster.file("one.toml", &ONE.replace("1_000", "2_000"));
    let dry_run = cluster.tollgate(&[&dry_run[..], &["--output", "json"]].concat()).json();
    assert_eq!((&dry_run["dry_run"], &dry_run["resources"][0]["change"]), (&true.into(), &"update".into()));
    let diff = dry_run["resources"][0]["diff"].to_string();
    assert!(diff.contains("- amount = 1000") && diff.contains("+ amount = 2000"), "{diff}");
    let generation = || {
        cluster.tollgate(&["resource", "get", "test/one", "--output", "json"]).json()["generation"].clone()
    };
    let before = generation();
    cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]).expect(0, "updated test/one");
    assert!(generation().as_u64() > before.as_u64());

    // What `get` prints can be applied.
    let printed = cluster.tollgate(&["resource", "get", "test/one"]).expect(0, "[[resource]]").stdout;
    let file = cluster.file("printed.toml", &printed);
    cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]).expect(0, "unchanged test/one");

    cluster.tollgate(&["resource", "delete", "test/one"]).expect(0, "deleted test/one");
    cluster.tollgate(&["resource", "delete", "test/one"]).expect(5, "error");
}

#[test]
fn a_change_that_the_cluster_would_refuse_is_told_before_anything_is_done() {
    let cluster = Cluster::start();
    let file = cluster.file("one.toml", ONE);
    cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]).expect(0, "created test/one");

    let new = ONE.replace("test/one", "test/new");
    let other_kind = ONE.replace("sliding_window", "fixed_window");
    let file = cluster.file("change.toml", &format!("{new}{other_kind}"));
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    for args in [&[&apply[..], &["--dry-run"]].concat()[..], &apply] {
        let answer = cluster.tollgate(args).expect(2, "test/one limits[0].fixed_window");
        assert!(answer.stdout.is_empty(), "{answer:?}");
    }
    cluster.tollgate(&["resource", "get", "test/new"]).expect(5, "error");
}

#[test]
fn a_faulty_file_changes_nothing() {
    let cluster = Cluster::start();
    let second = ONE.replace("test/one", "test/two").replace("period", "perod");
    let file = cluster.file("faulty.toml", &format!("{ONE}{second}"));
    let answer = cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]);
    let answer = answer.expect(2, "line 18").expect(2, "perod").expect(2, "period");
    assert!(answer.stdout.is_empty(), "{answer:?}");
    cluster.tollgate(&["resource", "get", "test/one"]).expect(5, "error");
    cluster.tollgate(&["resource", "apply", "-f", "/does/not/exist"]).expect(1, "/does/not/exist");
}

#[test]
fn the_samples_are_there_and_listed() {
    let cluster = Cluster::start();
    let list = cluster.tollgate(&["resource", "list", "--output", "json"]).expect(0, "").json();
    let names: Vec<_> =
        list["resources"].as_array().unwrap().iter().map(|resource| &resource["name"]).collect();
    assert_eq!(names, ["hubspot/acme", "salesforce/acme"]);
    cluster.tollgate(&["resource", "list", "--prefix", "sales"]).expect(0, "salesforce/acme");

    let acquire = ["acquire", "salesforce/acme", "--consumer", "crm-sync", "--output", "json"];
    let permit = cluster.tollgate(&acquire).expect(0, "").json();
    let usage = cluster.tollgate(&["resource", "usage", "salesforce/acme", "--output", "json"]).json();
    assert_eq!(usage["held"][0]["permit_id"], permit["permit_id"]);
    assert_eq!(usage["held"][0]["consumer"], "crm-sync");
    cluster.tollgate(&["resource", "usage", "salesforce/acme"]).expect(0, "crm-sync").expect(0, "100,000");
    cluster.tollgate(&["resource", "usage", "no/such"]).expect(5, "error");
}
