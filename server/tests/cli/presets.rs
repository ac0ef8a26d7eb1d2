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
        .expect(0, "confidence  doc");
    preset(&["show", "salesloft"])
        .expect(0, "# Operations; requests carry their cost, and are counted as 1 without:");
    preset(&["show", "zendesk"]).expect(0, "retry-after is there");
    let shown = preset(&["show", "hubspot", "--output", "json"]).json();
    assert_eq!(shown["plan"]["name"], "starter");
    assert_eq!(shown["resource"]["limits"][0]["sliding_window"]["amount"], 100);
    preset(&["show", "hubspt"]).expect(5, "did you mean `hubspot`?").expect(5, "tollgate preset list");
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

    let own = cluster.file("own.toml", OWN);
    let resource = "[[resource]]\nname = \"acme/one\"\npreset = \"acme\"\n[[resource.limit]]\nname = \"minute\"\nperiod = \"30s\"";
    let file = cluster.file("one.toml", resource);
    let apply = ["resource", "apply", "-f", file.to_str().unwrap()];
    cluster.tollgate(&apply).expect(2, "preset: `acme` is not known here");
    cluster
        .tollgate(&[&apply[..], &["--preset-file", own.to_str().unwrap()]].concat())
        .expect(0, "created acme/one");
    cluster.tollgate(&["resource", "get", "acme/one"]).expect(0, "amount = 70").expect(0, "period = \"30s\"");
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
    // As curl prints it: of a proxy's head and the vendor's, the last counts, and the body is none of it.
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
    preset(&["check", file]).expect(0, "is valid: acme, 1 plan");
    preset(&["list", "--preset-file", file]).expect(0, "acme:basic").expect(0, "hubspot:starter");

    fs::write(&path, OWN.replace("amount = 70", "amuont = 70")).unwrap();
    preset(&["check", file])
        .expect(2, "line 15: plan[0].limit[0].amuont: unknown key; did you mean `amount`?");
    preset(&["show", "acme", "--preset-file", file]).expect(2, "amuont");
    preset(&["check", "/does/not/exist"]).expect(1, "/does/not/exist");
}
