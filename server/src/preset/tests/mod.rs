mod files;
mod gtm;
mod others;
mod recorded;

use std::collections::BTreeMap;

use tollgate_limiter::{CircuitBreaker, Span};
use tollgate_proto::v1::{Limit, Resource, Scope, limit::Kind};

use super::*;
use crate::{grpc::convert::definition::definition, resource_file};

const MINIMAL: &str = r#"
vendor = "acme"
title = "Acme"
source = "https://example.com/limits"
verified_on = "2026-11-22"
confidence = "doc"
default_plan = "basic"

[[parameter]]
name = "seats"
description = "seats"
default = 3
most = 100

[[operation]]
name = "search"
description = "searches"

[[limit]]
name = "daily"
kind = "sliding_window"
amount = 1_000
period = "24h"
scope = "key"

[[plan]]
name = "basic"

[[plan.allowance]]
limit = "daily"
parameter = "seats"
amount = 10

[[plan]]
name = "large"
source = "somebody"
confidence = "claim"

[[plan.limit]]
name = "daily"
amount = 5_000

[[plan.limit]]
name = "search"
kind = "concurrency"
slots = 2
operations = ["search"]

[[header]]
name = "X-Left"
gives = "remaining"
limit = "daily"

[[header]]
name = "X-Reset"
gives = "reset"
limit = "daily"
format = "epoch_seconds"
only_if = { header = "X-Kind", is = "day" }

[[limited]]
status = 403
code = "TOO_MUCH"
limit = "daily"
wait = "2s"
"#;

fn amount(limit: &Limit) -> u64 {
    match limit.kind {
        Some(Kind::SlidingWindow(window)) => window.amount,
        _ => panic!("no sliding window: {limit:?}"),
    }
}

fn presets(text: &str) -> Presets {
    let mut presets = Presets::embedded().clone();
    presets.add(read(text).unwrap());
    presets
}

/// The resource with these lines, by the presets and [`MINIMAL`].
fn resource(lines: &str) -> Result<Resource, String> {
    let text = format!("[[resource]]\nname = \"acme/test\"\n{lines}");
    let mut resources =
        resource_file::read_with(&text, &presets(MINIMAL)).map_err(|faulty| faulty.to_string())?;
    Ok(resources.remove(0))
}

#[test]
fn a_plan_states_what_differs() {
    let preset = read(MINIMAL).unwrap();
    let (basic, large) = (&preset.plans[0], &preset.plans[1]);
    assert_eq!((basic.limits.len(), amount(&basic.limits[0])), (1, 1_000));
    assert_eq!((large.limits.len(), amount(&large.limits[0])), (2, 5_000));
    assert_eq!(basic.provenance.confidence, Confidence::Doc);
    assert_eq!(
        (large.provenance.source.as_str(), large.provenance.confidence),
        ("somebody", Confidence::Claim)
    );
    // Nobody has read what somebody says.
    assert!(basic.provenance.verified_on.is_some() && large.provenance.verified_on.is_none());
}

#[test]
fn a_dispatch_tolerance_is_of_all_plans_that_have_none_of_their_own() {
    let text = MINIMAL.replacen("[[parameter]]", "dispatch_tolerance = \"200ms\"\n[[parameter]]", 1);
    let text = text.replacen("name = \"large\"", "name = \"large\"\ndispatch_tolerance = \"1s\"", 1);
    let tolerances =
        read(&text).unwrap().plans.iter().map(|plan| plan.dispatch_tolerance).collect::<Vec<_>>();
    let of = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    assert_eq!(tolerances, [of(0, 200_000_000), of(1, 0)]);
}

#[test]
fn who_has_a_second_to_call_in_has_time_to_send_it() {
    for preset in Presets::embedded().iter() {
        for plan in &preset.plans {
            let mut resource = preset.expand(plan, &BTreeMap::new(), &[]);
            resource.name = "vendor/account".to_owned();
            let tolerance = definition(resource).unwrap().dispatch_tolerance;
            assert!(tolerance >= Span::from_millis(200), "{}:{} {tolerance}", preset.vendor, plan.name);
        }
    }
}

#[test]
fn what_spreads_a_window_is_as_fast_as_it_and_lets_a_twentieth_through_at_once() {
    let mut spread = Vec::new();
    for preset in Presets::embedded().iter() {
        for plan in &preset.plans {
            for limit in &plan.limits {
                let Some(name) = limit.name.strip_suffix("-spread") else { continue };
                let place = format!("{}:{} {}", preset.vendor, plan.name, limit.name);
                let window = plan.limits.iter().find(|window| window.name == name).expect(&place);
                let Some(Kind::FixedWindow(window)) = window.kind.clone() else { panic!("{place}") };
                let Some(Kind::TokenBucket(bucket)) = limit.kind.clone() else { panic!("{place}") };
                assert_eq!(
                    (bucket.refill_amount, bucket.refill_period),
                    (window.amount, window.period),
                    "{place}"
                );
                assert_eq!(bucket.capacity, (window.amount / 20).max(10), "{place}");
                spread.push((place, limit.shadow));
            }
        }
    }
    // Whoever waits for an hour's window decides for himself whether imports are to take so long.
    for (place, is_in_shadow) in &spread {
        assert_eq!(*is_in_shadow, place.ends_with("hourly-spread"), "{place}");
    }
    assert_eq!(spread.len(), 8, "{spread:?}");
}

#[test]
fn what_spreads_a_window_follows_it_unless_it_is_stated() {
    let bucket = |lines: &str| {
        let resource = resource(&format!("preset = \"apollo:paid\"\n{lines}")).unwrap();
        let spread = resource.limits.into_iter().find(|limit| limit.name == "minute-spread").unwrap();
        let Some(Kind::TokenBucket(bucket)) = spread.kind else { panic!("{spread:?}") };
        (bucket.capacity, bucket.refill_amount, bucket.refill_period.unwrap().seconds, spread.shadow)
    };
    let window = "[[resource.limit]]\nname = \"minute\"\namount = 500\nperiod = \"30s\"\n";
    let spread = "[[resource.limit]]\nname = \"minute-spread\"\n";
    assert_eq!(bucket(""), (10, 200, 60, false));
    assert_eq!(bucket(window), (25, 500, 30, false));
    assert_eq!(bucket(&format!("{window}{spread}shadow = true")), (25, 500, 30, true));
    assert_eq!(bucket(&format!("{window}{spread}capacity = 7")), (7, 200, 60, false));
    let small = window.replace("500", "50");
    assert_eq!(bucket(&small), (10, 50, 30, false), "a call that costs 10 fits, as it fits the window");
    // What is not in force is not spread, and neither is what comes back call by call.
    assert_eq!(bucket(&format!("{window}shadow = true")), (25, 500, 30, true));
    let sliding = format!("{window}kind = \"sliding_window\"\n");
    assert_eq!(bucket(&sliding), (10, 200, 60, true));
}

#[test]
fn parameters_add_to_what_a_plan_has() {
    let preset = read(MINIMAL).unwrap();
    let daily = |given: &[(&str, u64)]| {
        let given: BTreeMap<_, _> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        amount(&preset.expand(&preset.plans[0], &given, &[]).limits[0])
    };
    assert_eq!(daily(&[]), 1_030);
    assert_eq!(daily(&[("seats", 0)]), 1_000);
    assert_eq!(daily(&[("seats", 100)]), 2_000);
}

#[test]
fn a_limit_of_keys_is_of_the_resource_where_there_are_none() {
    assert_eq!(resource("preset = \"acme\"").unwrap().limits[0].scope(), Scope::Resource);
    let keys = "preset = \"acme\"\nkeys = [\"blue\", \"green\"]";
    assert_eq!(resource(keys).unwrap().limits[0].scope(), Scope::Key);
    // But one that the file itself says to be of keys needs them.
    let faults =
        resource("preset = \"acme\"\n[[resource.limit]]\nname = \"daily\"\nscope = \"key\"").unwrap_err();
    assert!(faults.contains("limits[0].scope: SCOPE_KEY needs keys"), "{faults}");
}

#[test]
fn what_begins_with_a_preset_leaves_a_failing_vendor_alone_unless_it_says_otherwise() {
    let breaker = |lines: &str| {
        let resource = resource(&format!("preset = \"acme\"\n{lines}")).unwrap();
        definition(resource).unwrap().circuit_breaker.map(|breaker| *breaker)
    };
    let default = CircuitBreaker::default();
    let of_keys = CircuitBreaker { scope: tollgate_limiter::Scope::Key, ..default };
    const KEYS: &str = "keys = [\"blue\", \"green\"]";
    assert_eq!(breaker(""), Some(default));
    assert_eq!(breaker("circuit_breaker = true"), Some(default));
    assert_eq!(breaker("circuit_breaker = false"), None);
    assert_eq!(breaker(KEYS), Some(of_keys));
    // What is stated counts, and the rest stays.
    let stated = CircuitBreaker { consecutive_failures: 2, ..of_keys };
    assert_eq!(breaker(&format!("{KEYS}\ncircuit_breaker = {{ consecutive_failures = 2 }}")), Some(stated));
    assert_eq!(breaker(&format!("{KEYS}\ncircuit_breaker = {{ scope = \"resource\" }}")), Some(default));
    let faults = resource("preset = \"acme\"\ncircuit_breaker = \"off\"").unwrap_err();
    assert!(faults.contains("line 4: resource[0].circuit_breaker: must be a table, not string"), "{faults}");
    // Without a preset there is none unless it is stated.
    const SLOTS: &str = "[[resource.limit]]\nname = \"slots\"\nkind = \"concurrency\"\nslots = 2";
    assert_eq!(resource(SLOTS).unwrap().circuit_breaker, None);
    assert!(resource(&format!("circuit_breaker = true\n{SLOTS}")).unwrap().circuit_breaker.is_some());
}

#[test]
fn what_operations_cost_is_part_of_the_resource() {
    let operation = |name: &str, cost: &str| {
        format!("[[operation]]\nname = \"{name}\"\ndescription = \"calls\"\n{cost}\n")
    };
    let (first, last) = (operation("search/own", ""), operation("get", "cost = 1"));
    let costly = format!("{first}[[operation]]\nname = \"search\"\ncost = 3");
    let text = MINIMAL.replacen("[[operation]]\nname = \"search\"", &costly, 1);
    let text = text.replacen("[[limit]]", &format!("{last}[[limit]]"), 1);
    let costs = |lines: &str| {
        let text_of = format!("[[resource]]\nname = \"acme/test\"\npreset = \"acme\"\n{lines}");
        let resource = resource_file::read_with(&text_of, &presets(&text)).unwrap().remove(0);
        let costs = resource.operation_costs.into_iter().map(|known| (known.operation, known.cost));
        costs.collect::<Vec<_>>()
    };
    let cost = |operation: &str, cost| (operation.to_owned(), cost);
    // What costs 1 is named where something that costs more comes later: of patterns the first that matches counts.
    assert_eq!(costs(""), [cost("search/own", 1), cost("search", 3)]);
    let stated = "[[resource.operation_cost]]\noperation = \"search\"\ncost = 5";
    assert_eq!(costs(stated), [cost("search", 5), cost("search/own", 1)]);
    // Before those of the preset: the first that matches counts.
    let stated = "[[resource.operation_cost]]\noperation = \"**\"\ncost = 2";
    assert_eq!(costs(stated), [cost("**", 2), cost("search/own", 1), cost("search", 3)]);
    // Where all cost 1, none need be told.
    assert_eq!(resource("preset = \"acme\"").unwrap().operation_costs, []);
}

#[test]
fn a_preset_names_no_more_costs_than_a_resource_may_have() {
    let faults = |count: usize| {
        let operation = |number: usize| {
            format!("[[operation]]\nname = \"list/{number}\"\ndescription = \"lists\"\ncost = 2\n")
        };
        let operations: String = (0..count).map(operation).collect();
        read(&MINIMAL.replacen("[[limit]]", &format!("{operations}[[limit]]"), 1)).err()
    };
    // The one that costs 1 comes before them.
    assert!(faults(99).is_none());
    let faults = faults(100).unwrap().to_string();
    assert!(faults.contains("plan basic: operation_costs: must be 0 to 100, not 101"), "{faults}");
}

#[test]
fn a_resource_overrides_any_field() {
    let resource = resource(
        r#"
preset = "acme:large"
parameters = { seats = 7 }
description = "ours"
dispatch_tolerance = "5ms"
max_waiters = 9

[[resource.limit]]
name = "search"
counts_after = "20s"
operations = []
shadow = true

[[resource.limit]]
name = "daily"
kind = "fixed_window"
amount = 7
period = "1h"

[[resource.limit]]
name = "own"
kind = "leaky_bucket"
amount = 1
period = "1s"
"#,
    )
    .unwrap();
    assert_eq!((resource.description.as_str(), resource.max_waiters), ("ours", 9));
    let names: Vec<_> = resource.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["daily", "search", "own"]);
    let Some(Kind::FixedWindow(daily)) = &resource.limits[0].kind else { panic!("{resource:?}") };
    assert_eq!((daily.amount, daily.period.unwrap().seconds), (7, 3_600));
    let search = &resource.limits[1];
    let Some(Kind::Concurrency(slots)) = search.kind else { panic!("{resource:?}") };
    assert_eq!((slots.slots, slots.counts_after.unwrap().seconds), (2, 20));
    assert!(search.operations.is_empty() && search.shadow);
}

#[test]
fn what_a_resource_gets_wrong_is_told_with_its_line() {
    for (lines, expected) in [
        (
            "preset = \"hubspt\"",
            "line 3: resource[0].preset: `hubspt` is not known here; did you mean `hubspot`? (for one of your own add --preset-file FILE)",
        ),
        (
            "preset = \"hubspot:profesional\"",
            "line 3: resource[0].preset: hubspot: `profesional` is not known here; did you mean `professional`?",
        ),
        (
            "preset = \"acme\"\nparameters = { seets = 3 }",
            "line 4: resource[0].parameters.seets: unknown key; did you mean `seats`?",
        ),
        (
            "preset = \"acme\"\nparameters = { seats = 101 }",
            "line 4: resource[0].parameters.seats: must be 0 to 100",
        ),
        ("parameters = { seats = 3 }", "resource[0].parameters: unknown key"),
        (
            "preset = \"acme\"\n[[resource.limit]]\nname = \"daily\"\ncapacity = 3",
            "line 6: resource[0].limit[0].capacity: unknown key",
        ),
        (
            "preset = \"acme\"\n[[resource.limit]]\nname = \"daily\"\nkind = \"sliding\"",
            "line 6: resource[0].limit[0].kind: `sliding` is not known here; did you mean `sliding_window`?",
        ),
        (
            "preset = \"acme\"\n[[resource.limit]]\nname = \"dayly\"\namount = 3",
            "line 4: resource[0].limit[0].kind: is required",
        ),
        (
            "preset = \"acme:large\"\n[[resource.limit]]\nname = \"search\"\nslots = 3\n[[resource.limit]]\nname = \"search\"\nkind = \"concurrency\"\nslots = 4",
            "limits[2].name: `search` names another limit already",
        ),
    ] {
        let faults = resource(lines).unwrap_err();
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
    // A file of one's own would not help: the vendor is known.
    assert!(!resource("preset = \"hubspot:profesional\"").unwrap_err().contains("--preset-file"));
}

#[test]
fn each_fault_of_a_preset_names_its_line_and_key() {
    for (good, bad, expected) in [
        ("vendor = ", "vender = ", "line 2: vender: unknown key; did you mean `vendor`?"),
        ("\"acme\"", "\"Acme Inc\"", "vendor: must be parts of lower-case letters"),
        ("\"2026-11-22\"", "\"22.11.2026\"", "line 5: verified_on: "),
        ("confidence = \"doc\"\n", "", "plan[0].confidence: is required, here or for all plans"),
        ("\"doc\"", "\"docs\"", "line 6: confidence: `docs` is not known here; did you mean `doc`?"),
        (
            "default_plan = \"basic\"",
            "default_plan = \"basics\"",
            "default_plan: `basics` is not known here; did you mean `basic`?",
        ),
        ("default = 3", "default = 300", "parameter[0].default: must be 0 to 100, not 300"),
        (
            "parameter = \"seats\"",
            "parameter = \"seat\"",
            "plan basic: allowance: `seat` is not known here; did you mean `seats`?",
        ),
        (
            "limit = \"daily\"\nparameter",
            "limit = \"search\"\nparameter",
            "plan basic: allowance: `search` is no window of this plan",
        ),
        ("amount = 5_000", "amount = 0", "plan large: limits[0].sliding_window.amount: must be 1 to"),
        ("slots = 2", "slots = 2\nslot = 3", "plan[1].limit[1].slot: unknown key; did you mean `slots`?"),
        ("name = \"large\"", "name = \"basic\"", "plan: `basic` is in this file twice"),
        ("name = \"large\"", "name = \"Very Large\"", "plan Very Large: its name must be lower-case letters"),
        (
            "gives = \"remaining\"",
            "gives = \"remainder\"",
            "header[0].gives: `remainder` is not known here; did you mean `remaining`?",
        ),
        ("gives = \"remaining\"\n", "", "header[0].gives: is required: one of retry_after"),
        ("X-Left", "X Left", "header[0].name: invalid HTTP header name"),
        (
            "limit = \"daily\"\nformat",
            "limit = \"weekly\"\nformat",
            "header or limited: `weekly` is not known here",
        ),
        ("format = \"epoch_seconds\"\n", "", "header[1].format: is required: one of seconds"),
        (
            "\"epoch_seconds\"",
            "\"epoch\"",
            "header[1].format: `epoch` is not known here; did you mean `epoch_seconds`?",
        ),
        ("is = \"day\"", "si = \"day\"", "header[1].only_if.si: unknown key"),
        ("header = \"X-Kind\", is", "is", "header[1].only_if.header: is required"),
        ("status = 403", "status = 1", "limited[0].status: must be an HTTP status"),
        (
            "confidence = \"doc\"",
            "confidence = \"doc\"\ncode_at = \"error.code\"",
            "line 7: code_at: must be a JSON pointer such as /error/code",
        ),
        ("wait = \"2s\"", "wait = \"2\"", "limited[0].wait: must be a duration"),
    ] {
        let text = MINIMAL.replacen(good, bad, 1);
        assert_ne!(text, MINIMAL, "{good}");
        let faults = read(&text).unwrap_err().to_string();
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
    assert!(read("[").unwrap_err().to_string().contains("this is not TOML"));
    assert!(read("").unwrap_err().to_string().contains("vendor: is required"));
}

#[test]
fn every_embedded_preset_expands_to_valid_resources() {
    let presets = Presets::embedded();
    let vendors: Vec<_> = presets.iter().map(|preset| preset.vendor.as_str()).collect();
    assert_eq!(vendors.len(), 19, "two files of one vendor: {vendors:?}");
    for preset in presets.iter() {
        for plan in &preset.plans {
            for keys in [vec![], vec!["blue".to_owned(), "green".to_owned()]] {
                let most = preset.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.most));
                for given in [BTreeMap::new(), most.collect()] {
                    let mut resource = preset.expand(plan, &given, &keys);
                    resource.name = format!("{}/test", preset.vendor);
                    assert!(definition(resource.clone()).is_ok(), "{resource:?}");
                }
            }
        }
        for Plan { name, provenance, .. } in &preset.plans {
            let is_compared = provenance.verified_on.is_some();
            let is_sure = provenance.confidence == Confidence::Doc;
            assert!(is_compared || !is_sure, "{}:{name} was never compared with its source", preset.vendor);
        }
        let (_, default) = presets.select(&preset.vendor).unwrap();
        assert_ne!(default.provenance.confidence, Confidence::Claim, "{}", preset.vendor);
        assert!(!preset.profile.signs.is_empty(), "{} never limits anybody", preset.vendor);
    }
}
