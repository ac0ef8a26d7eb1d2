use super::*;
use crate::grpc::convert::{definition::definition, resource::resource};
use tollgate_limiter::StoredResource;

const EXAMPLE: &str = include_str!("../../../deploy/resources.example.toml");

const ALL_KINDS: &str = r#"
[[resource]]
name = "vendor/account"
description = "with \"quotes\" and ünïcode"
keys = ["first", "second"]
dispatch_tolerance = "20ms"
settle_within = "0s"
max_waiters = 500
max_waiters_per_consumer = 20
ageing = "1m"
circuit_breaker = { scope = "key", consecutive_failures = 0, failure_percent = 40, probes = 3, open_for = "1m" }
feedback = { ramp = "0s", ramp_from_percent = 5, pace_recovery = "1m", pace_floor_percent = 20, trusted_percent = 0, longest_wait = "5m", vendor = "hubspot" }

[[resource.limit]]
name = "bucket"
kind = "token_bucket"
capacity = 10
refill_amount = 5
refill_period = "1s"
scope = "key"
max_scope_values = 7

[[resource.limit]]
name = "paced"
kind = "leaky_bucket"
amount = 3
period = "1m 30s"
operations = ["search/*", "**"]

[[resource.limit]]
name = "day"
kind = "fixed_window"
amount = 1000
anchor = "midnight"
time_zone = "Europe/Berlin"
dimension = "input_tokens"
shadow = true

[[resource.limit]]
name = "opened"
kind = "fixed_window"
amount = 1000
period = "1h"
anchor = "first_request"

[[resource.limit]]
name = "rolling"
kind = "sliding_window"
amount = 190
period = "10s"
resolution = 50

[[resource.limit]]
name = "slots"
kind = "concurrency"
slots = 25
lease_default = "30s"
counts_after = "20s"

[[resource.operation_cost]]
operation = "list/501"
cost = 30

[[resource.operation_cost]]
operation = "list/*"
cost = 8

[[resource.budget]]
name = "crm"
consumers = ["crm/*", "sync"]
weight = 3
share = [{ limit = "rolling", reserve_percent = 40, ceiling_percent = 80 }, { limit = "slots" }]

[resource.budget.schedule]
time_zone = "Europe/Berlin"
open = [{ weekdays = ["monday", "friday"], from = "08:00", to = "18:30" }, { from = "22:00", to = "02:00" }]

[[resource.budget]]
name = "others"
unbudgeted = true

[[resource.budget.share]]
limit = "slots"
ceiling_percent = 20
"#;

#[test]
fn the_example_is_valid() {
    let names: Vec<String> = read(EXAMPLE).unwrap().into_iter().map(|resource| resource.name).collect();
    assert_eq!(names, ["salesforce/acme", "hubspot/acme"]);
}

#[test]
fn what_is_written_reads_as_the_same_definition() {
    for text in [EXAMPLE, ALL_KINDS] {
        for wire in read(text).unwrap() {
            let defined = definition(wire).unwrap();
            let spelt_out = resource(StoredResource::new(defined.clone(), 7));
            let written = write(&[spelt_out]);
            let again = read(&written).unwrap_or_else(|faults| panic!("{faults}\n{written}"));
            assert_eq!(definition(again[0].clone()), Ok(defined), "{written}");
        }
    }
}

#[test]
fn each_fault_names_its_line_and_key() {
    let cases = [
        (
            "capacity = 10",
            "capcity = 10",
            "line 17: resource[0].limit[0].capcity: unknown key; did you mean `capacity`?",
        ),
        (
            "refill_period",
            "period",
            "line 19: resource[0].limit[0].period: unknown key; did you mean `refill_period`?",
        ),
        (
            "refill_amount",
            "amount",
            "line 18: resource[0].limit[0].amount: unknown key; did you mean `refill_amount`?",
        ),
        (
            "amount = 190",
            "refill_amount = 190",
            "resource[0].limit[4].refill_amount: unknown key; did you mean `amount`?",
        ),
        ("cost = 8", "costs = 8", "resource[0].operation_cost[1].costs: unknown key; did you mean `cost`?"),
        ("cost = 8\n", "", "resource[0].operation_cost[1].cost: is required"),
        ("cost = 8", "cost = 0", "operation_costs[1].cost: must be 1 to"),
        ("slots = 25", "size = 25", "resource[0].limit[5].size: unknown key; known are `counts_after`"),
        ("keys =", "kees =", "line 5: resource[0].kees: unknown key"),
        ("[[resource]]", "[[resources]]", "unknown key; did you mean `resource`?"),
        (
            "\"sliding_window\"",
            "\"sliding\"",
            "resource[0].limit[4].kind: `sliding` is not known here; did you mean `sliding_window`?",
        ),
        ("kind = \"sliding_window\"\n", "", "resource[0].limit[4].kind: is required: one of token_bucket"),
        ("\"midnight\"", "\"noon\"", "resource[0].limit[2].anchor: `noon` is not known here"),
        (
            "\"1s\"",
            "\"1 parsec\"",
            "line 19: resource[0].limit[0].refill_period: must be a duration such as 500ms",
        ),
        ("\"1s\"", "1", "resource[0].limit[0].refill_period: must be a text in quotes, not integer"),
        ("amount = 190", "amount = -1", "resource[0].limit[4].amount: is negative or too large"),
        ("slots = 25", "slots = 5000000000", "resource[0].limit[5].slots: is negative or too large"),
        ("name = \"vendor/account\"\n", "", "resource[0].name: is required"),
        ("vendor/account", "Vendor", "Vendor name: must be parts of lower-case letters"),
        ("Europe/Berlin", "Europe/Atlantis", "limits[2].fixed_window.time_zone: is not an IANA time zone"),
        (
            "\"friday\"",
            "\"fryday\"",
            "budget[0].schedule.open[0].weekdays: `fryday` is not known here; did you mean `friday`?",
        ),
        ("reserve_percent = 40", "reserve = 40", "budget[0].share[0].reserve: unknown key"),
        ("limit = \"rolling\"", "limit = \"roling\"", "budgets[0].shares[0].limit: `roling` is no limit"),
        ("\"18:30\"", "\"18:60\"", "budgets[0].schedule.open[0].to: must be a time of day such as 18:30"),
        ("\"08:00\"", "\"24:00\"", "budgets[0].schedule.open[0].from: must be 00:00 to 23:59"),
        ("ageing = \"1m\"", "ageing = \"0s\"", "ageing: must be 1 s to 1 h, not 0 s"),
        ("shadow = true", "shadow = \"yes\"", "resource[0].limit[2].shadow: must be true or false"),
    ];
    for (good, bad, expected) in cases {
        let text = ALL_KINDS.replacen(good, bad, 1);
        assert_ne!(text, ALL_KINDS, "{good}");
        let faults = read(&text).unwrap_err().to_string();
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
}

#[test]
fn a_name_given_twice_is_refused() {
    let faults = read(&format!("{ALL_KINDS}{ALL_KINDS}")).unwrap_err();
    assert!(
        faults.to_string().contains("vendor/account: is in this file twice; first in line 2"),
        "{faults}"
    );
}

#[test]
fn an_empty_file_has_no_resources() {
    assert_eq!(read(""), Ok(vec![]));
}
