//! `tollgate preset`, and resources that begin with one.

use std::fs;

use crate::cluster::{Answer, Cluster, answer, tollgate};

/// Without any cluster.
fn preset(args: &[&str]) -> Answer {
    let mut command = tollgate();
    command.arg("preset").args(args);
    answer(command)
}

const OWN: &str = r#"
vendor = "acme"
title = "Acme"
source = "our contract"
verified_on = "2026-11-22"
confidence = "doc"
default_plan = "basic"

[[plan]]
name = "basic"

[[plan.limit]]
name = "minute"
kind = "sliding_window"
amount = 70
period = "1m"

[[limited]]
status = 429
"#;

const ONE: &str = r#"
[[resource]]
name = "acme/one"
preset = "acme"

[[resource.limit]]
name = "minute"
period = "30s"
"#;

#[test]
fn presets_are_listed_and_shown() {
    preset(&["list"]).expect(0, "hubspot:professional").expect(0, "salesforce:enterprise").expect(0, "claim");
    let list = preset(&["list", "--output", "json"]).json();
    assert_eq!(list["presets"].as_array().unwrap().len(), 19);

    preset(&["show", "salesforce:enterprise"])
        .expect(0, "1,000 more of daily for each of licences")
        .expect(0, "amount = 100000")
        .expect(0, "counts_after")
        .expect(0, "REQUEST_LIMIT_EXCEEDED")
        .expect(0, "[resource.circuit_breaker]")
        .expect(0, "confidence  doc");
    preset(&["show", "salesloft"])
        .expect(0, "# Operations; a call that states no cost is counted with this one:")
        .expect(0, "[[resource.operation_cost]]\noperation = \"list/101-150\"\ncost = 3");
    preset(&["show", "zendesk"]).expect(0, "retry-after is there");
    let shown = preset(&["show", "hubspot", "--output", "json"]).json();
    assert_eq!(shown["plan"]["name"], "starter");
    assert_eq!(shown["resource"]["limits"][0]["sliding_window"]["amount"], 100);
    preset(&["show", "hubspt"])
        .expect(5, "did you mean `hubspot`?")
        .expect(5, "tollgate preset list")
        .expect(5, "for one of your own add --preset-file FILE");
}

#[test]
fn what_is_shown_can_be_applied() {
    let cluster = Cluster::start();
    let shown = preset(&["show", "zendesk:enterprise"]).expect(0, "").stdout;
    let file = cluster.file("shown.toml", &shown);
    cluster
        .tollgate(&["resource", "apply", "-f", file.to_str().unwrap()])
        .expect(0, "created zendesk/account");

    // And is what the name stands for.
    let named = "[[resource]]\nname = \"zendesk/account\"\npreset = \"zendesk:enterprise\"";
    let file = cluster.file("named.toml", named);
    cluster
        .tollgate(&["resource", "apply", "-f", file.to_str().unwrap()])
        .expect(0, "unchanged zendesk/account");

    // Also to the sample, which counts as the preset does.
    let sample = "[[resource]]\nname = \"hubspot/acme\"\npreset = \"hubspot:professional\"";
    let file = cluster.file("sample.toml", sample);
    cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]).expect(0, "updated hubspot/acme");

    // One's own that the nodes do not have shapes limits, if the file says that nobody reads its answers.
    let own = cluster.file("own.toml", OWN);
    let file = cluster.file("one.toml", ONE);
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    let apply_own = [&apply[..], &["--preset-file", own.to_str().unwrap()]].concat();
    cluster
        .tollgate(&apply)
        .expect(2, "preset: `acme` is not known here")
        .expect(2, "for one of your own add --preset-file FILE");
    cluster
        .tollgate(&apply_own)
        .expect(2, "feedback.vendor: there is no preset `acme` on this node")
        .expect(2, "`presets` of each node's configuration");
    cluster.file("one.toml", &ONE.replacen("preset =", "feedback = { vendor = \"\" }\npreset =", 1));
    cluster.tollgate(&apply_own).expect(0, "created acme/one");
    cluster.tollgate(&["resource", "get", "acme/one"]).expect(0, "amount = 70").expect(0, "period = \"30s\"");
}

#[test]
fn nodes_read_answers_with_presets_of_ones_own() {
    let cluster = Cluster::with_preset(OWN);
    let own = cluster.directory().join("preset.toml");
    let file = cluster.file("one.toml", ONE);
    let apply = ["resource", "apply", "-f", file.to_str().unwrap(), "--preset-file", own.to_str().unwrap()];
    cluster.tollgate(&apply).expect(0, "created acme/one");
    cluster.tollgate(&["resource", "get", "acme/one"]).expect(0, "vendor = \"acme\"");
    for node in 1..=3 {
        let log = fs::read_to_string(cluster.directory().join(format!("data/node-{node}.log"))).unwrap();
        assert!(log.contains("a preset is read from a file") && log.contains("acme"), "{log}");
    }
    // What is printed can be applied by whoever has not got the file.
    let printed = cluster.tollgate(&["resource", "get", "acme/one"]).stdout;
    let file = cluster.file("printed.toml", &printed);
    cluster.tollgate(&["resource", "apply", "-f", file.to_str().unwrap()]).expect(0, "unchanged acme/one");
}

#[test]
fn a_node_does_not_start_with_a_preset_that_is_not_valid() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("acme.toml");
    fs::write(&path, OWN.replace("amount = 70", "amuont = 70")).unwrap();
    let start = |presets: &str| {
        let mut command = tollgate();
        let data = directory.path().join("data");
        command.args(["server", "--node-id=1", "--data-dir", data.to_str().unwrap(), "--join"]);
        command.args(["--presets", presets]);
        answer(command)
    };
    for presets in [path.to_str().unwrap(), directory.path().to_str().unwrap()] {
        start(presets)
            .expect(2, "presets: ")
            .expect(2, "acme.toml: the preset is not valid")
            .expect(2, "line 15: plan[0].limit[0].amuont: unknown key; did you mean `amount`?");
    }
    start("/does/not/exist").expect(2, "presets: cannot read /does/not/exist");
}

#[test]
fn an_answer_is_explained() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("answer");
    let read = |answer: &str, args: &[&str]| {
        fs::write(&path, answer).unwrap();
        let args =
            [&["read", "--file", path.to_str().unwrap(), "--at", "2026-11-22T10:00:00Z"], args].concat();
        preset(&args)
    };
    // As curl prints it: of a proxy's head and the vendor's, the last counts, and what the body has is no header.
    let answer = "HTTP/1.1 200 Connection established\r\nX-RateLimit-Remaining: 9\r\n\r\n\
                  HTTP/2 429 \r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1795341607\r\n\
                  x-ratelimit-limit: many\r\n\r\n{\"type\": 1}\nx-ratelimit-remaining: 7\n";
    read(answer, &["intercom"])
        .expect(0, "limited       yes")
        .expect(0, "wait          7s")
        .expect(0, "ten-seconds: 0 left fresh in 7s")
        .expect(0, "x-ratelimit-limit: `many` is not a whole number");
    let json = read(answer, &["intercom", "--output", "json"]).json();
    assert_eq!((&json["retry_after_seconds"], &json["exhausted"][0]), (&7.0.into(), &"ten-seconds".into()));
    assert_eq!(json["limits"][0]["remaining"], 0);

    // The code is looked for in the body, as nodes do; what is named goes before it.
    let no_money = "HTTP/2 429\r\n\r\n{\"error\": {\r\n  \"code\": \"insufficient_quota\"\r\n}}";
    read(no_money, &["openai"]).expect(0, "limited       no").expect(0, "code          insufficient_quota");
    read(no_money, &["openai", "--code", "rate_limit_exceeded"]).expect(0, "limited       yes");
    let day = read("HTTP/2 429\n\n{\"policyName\": \"DAILY\"}\n", &["hubspot", "--output", "json"]).json();
    assert_eq!((&day["code"], &day["exhausted"][0]), (&"DAILY".into(), &"daily".into()));

    let forbidden = "HTTP/1.1 403 Forbidden\n\n";
    read(forbidden, &["salesforce", "--code", "REQUEST_LIMIT_EXCEEDED"]).expect(0, "limited       yes");
    read(forbidden, &["salesforce"]).expect(0, "limited       no");
    read("<html>", &["salesforce"]).expect(2, "does not begin with a status line");
    read(forbidden, &["salesfroce"]).expect(5, "did you mean `salesforce`?");
}

#[test]
fn a_file_of_ones_own_is_checked() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("acme.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, OWN).unwrap();
    let valid = preset(&["check", file]).expect(0, "is valid: acme, 1 plan");
    assert!(!valid.stdout.contains("code_at"), "{valid:?}");
    let signs = format!("{OWN}code = \"TOO_MUCH\"\n");
    fs::write(&path, &signs).unwrap();
    preset(&["check", file]).expect(0, "without `code_at` no code is read from bodies");
    fs::write(&path, format!("code_at = \"/error/code\"\n{signs}")).unwrap();
    assert!(!preset(&["check", file]).expect(0, "is valid").stdout.contains("code_at"));
    fs::write(&path, OWN).unwrap();
    preset(&["list", "--preset-file", file]).expect(0, "acme:basic").expect(0, "hubspot:starter");

    fs::write(&path, OWN.replace("amount = 70", "amuont = 70")).unwrap();
    preset(&["check", file])
        .expect(2, "line 15: plan[0].limit[0].amuont: unknown key; did you mean `amount`?");
    preset(&["show", "acme", "--preset-file", file]).expect(2, "amuont");

    // Those of the program are files to begin with.
    let shown = preset(&["show", "hubspot:professional", "--toml"]).expect(0, "[[limited]]").stdout;
    assert_eq!(shown, include_str!("../../presets/hubspot.toml"));
    fs::write(&path, shown).unwrap();
    preset(&["check", file]).expect(0, "is valid: hubspot");
    preset(&["check", "/does/not/exist"]).expect(1, "/does/not/exist");
}
