//! Budgets, from the file to the denial.

use crate::cluster::Cluster;

const BUDGETS: &str = r#"
[[resource]]
name = "test/budgets"
max_waiters = 7

[[resource.limit]]
name = "hourly"
kind = "token_bucket"
capacity = 10
refill_amount = 1
refill_period = "1h"

[[resource.budget]]
name = "crm"
consumers = ["crm/*"]
weight = 2
share = [{ limit = "hourly", reserve_percent = 40, ceiling_percent = 60 }]

[[resource.budget]]
name = "never"
consumers = ["never"]
schedule.open = [{ weekdays = ["monday"], from = "00:00", to = "00:01" }]
"#;

#[test]
fn budgets_are_applied_kept_and_told() {
    let cluster = Cluster::start();
    cluster.define(BUDGETS);
    let acquire = |consumer: &str, cost: &str| {
        let args = ["acquire", "test/budgets", "--consumer", consumer, "--cost", cost];
        cluster.tollgate(&[&args[..], &["--output", "json"]].concat())
    };

    // Others leave the reserve alone; whose it is has it, up to the ceiling.
    acquire("export", "6").expect(0, "granted");
    let denial = acquire("export", "1").expect(3, "denied").json();
    assert_eq!((&denial["limit"], &denial["exhausted"][0]["available"]), (&"hourly".into(), &4.into()));
    cluster.tollgate(&["acquire", "test/budgets", "--consumer", "export"]).expect(3, "budget");
    acquire("crm/contacts", "4").expect(0, "granted");
    acquire("crm/contacts", "7").expect(2, "budget `crm`");

    let usage = cluster.tollgate(&["resource", "usage", "test/budgets", "--output", "json"]).json();
    let of_crm = &usage["budgets"][0]["uses"][0];
    assert_eq!((&of_crm["reserve"], &of_crm["reserve_left"]), (&4.into(), &0.into()));
    assert_eq!((&of_crm["ceiling"], &of_crm["used"]), (&6.into(), &4.into()));
    let consumers = usage["consumers"].as_array().unwrap();
    let export = consumers.iter().find(|consumer| consumer["consumer"] == "export").unwrap();
    assert_eq!(export["uses"][0]["used"], 6);
    cluster
        .tollgate(&["resource", "usage", "test/budgets"])
        .expect(0, "RESERVE LEFT")
        .expect(0, "crm/contacts")
        .expect(0, "never");

    // What `get` prints is the same definition.
    let stored = cluster.tollgate(&["resource", "get", "test/budgets", "--output", "json"]).json();
    assert_eq!((&stored["budgets"][0]["weight"], &stored["max_waiters"]), (&2.into(), &7.into()));
    assert_eq!(stored["budgets"][1]["schedule"]["open"][0]["weekdays"][0], "monday");
    let printed =
        cluster.tollgate(&["resource", "get", "test/budgets"]).expect(0, "[[resource.budget]]").stdout;
    let file = cluster.file("printed.toml", &printed);
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    cluster.tollgate(&apply).expect(0, "unchanged test/budgets");

    // Reserves beyond the whole are refused by name.
    let file = cluster.file("greedy.toml", &BUDGETS.replace("reserve_percent = 40", "reserve_percent = 101"));
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    cluster.tollgate(&apply).expect(2, "budgets[0].shares[0].reserve_percent: must be 0 to 100");
}
