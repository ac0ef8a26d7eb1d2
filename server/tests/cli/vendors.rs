//! What the command line and the nodes' logs say of vendors that fail and refuse.

use std::fs;

use tollgate_client::{Answer, Client, Outcome};

use crate::cluster::{Cluster, eventually};

const VENDOR: &str = r#"
[[resource]]
name = "test/vendor"
keys = ["blue", "green"]
circuit_breaker = { scope = "key", consecutive_failures = 2, open_for = "1h" }

[[resource.limit]]
name = "rate"
kind = "token_bucket"
capacity = 100
refill_amount = 1
refill_period = "1s"
"#;

impl Cluster {
    /// Does something with a client of it.
    fn with_client<T>(&self, work: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let nodes = self.nodes();
        runtime.block_on(async { work(Client::connect(nodes.split(',')).unwrap()).await })
    }

    /// How many nodes have this in their logs.
    fn logged(&self, text: &str) -> usize {
        let log = |node: usize| fs::read_to_string(self.directory().join(format!("data/node-{node}.log")));
        (1..=3).filter(|node| log(*node).unwrap().lines().any(|line| line.contains(text))).count()
    }

    fn list(&self) -> Vec<String> {
        let list = self.tollgate(&["resource", "list"]).expect(0, "STATE").stdout;
        list.lines().skip(1).map(str::to_owned).collect()
    }
}

#[test]
fn a_circuit_is_told_of_until_it_is_resumed() {
    let cluster = Cluster::start();
    cluster.define(VENDOR);
    cluster.with_client(async |client| {
        for _ in 0..2 {
            client.report("test/vendor").key("blue").outcome(Outcome::Timeout).await.unwrap();
        }
        client.report("test/vendor").key("green").outcome(Outcome::Throttled).await.unwrap();
    });

    let asked = |key| ["acquire", "test/vendor", "--key", key];
    let why = "ago after 2 failures in a row (last: timeout), tried again in";
    cluster
        .tollgate(&asked("blue"))
        .expect(3, "the circuit of key blue is open: ask again in")
        .expect(3, "circuit open: opened")
        .expect(3, why)
        .expect(3, "1st time");
    let denial = cluster.tollgate(&[&asked("blue")[..], &["--output", "json"]].concat()).json();
    assert_eq!((&denial["reason"], &denial["key"]), (&"circuit_open".into(), &"blue".into()));
    let circuit = &denial["circuit"];
    assert_eq!((&circuit["state"], &circuit["opened_by"]), (&"open".into(), &"timeout".into()));
    assert_eq!((&circuit["failures_in_row"], &circuit["times_opened"]), (&2.into(), &1.into()));
    assert!(circuit["open_for_seconds"].is_f64() && denial["pace"].is_null(), "{denial}");

    // What is spent at once is made up for: the next one waits for minutes.
    cluster.tollgate(&[&asked("green")[..], &["--cost", "90"]].concat()).expect(0, "granted");
    cluster
        .tollgate(&asked("green"))
        .expect(3, "calls of key green are paced")
        .expect(3, "of 1.0 a second for")
        .expect(3, "after refusals");
    let denial = cluster.tollgate(&[&asked("green")[..], &["--output", "json"]].concat()).json();
    assert_eq!((&denial["reason"], &denial["key"]), (&"paced".into(), &"green".into()));
    assert_eq!((&denial["pace"]["cause"], &denial["circuit"]), (&"refusals".into(), &().into()));

    cluster
        .tollgate(&["resource", "usage", "test/vendor"])
        .expect(0, "key blue: circuit open")
        .expect(0, why);
    let usage = cluster.tollgate(&["resource", "usage", "test/vendor", "--output", "json"]).json();
    let [blue, green] = &usage["conditions"].as_array().unwrap()[..] else { panic!("{usage}") };
    assert_eq!((&blue["key"], &blue["circuit"]["failures"]), (&"blue".into(), &2.into()));
    assert_eq!((&green["key"], &green["pace"]["full_per_second"]), (&"green".into(), &1.0.into()));
    assert_eq!(usage["tightened"], serde_json::json!([]));

    // The worst comes first, before others that come first by name.
    let list = cluster.list();
    assert!(list[0].starts_with("test/vendor"), "{list:?}");
    assert!(list[0].contains("circuit open") && list[0].contains("(1 of 2 keys), paced"), "{list:?}");
    assert!(list[1].starts_with("hubspot/acme") && list[1].contains("  ok  "), "{list:?}");
    eventually("one node tells of it", || cluster.logged("a circuit has opened") == 1);
    assert_eq!(cluster.logged("a circuit has closed"), 0);

    let nothing = "test/vendor is resumed: nothing is held back any more";
    cluster.tollgate(&["resource", "resume", "test/vendor"]).expect(0, nothing);
    cluster.tollgate(&asked("blue")).expect(0, "granted");
    cluster.tollgate(&asked("green")).expect(0, "granted");
    assert!(cluster.list().last().unwrap().contains("  ok  "), "{:?}", cluster.list());
    eventually("it has closed", || cluster.logged("a circuit has closed") == 1);
    cluster.tollgate(&["resource", "resume", "--help"]).expect(0, "and what came of the vendor's answers");
}

#[test]
fn what_a_vendor_holds_and_what_others_use_is_shown() {
    let cluster = Cluster::start();
    cluster.with_client(async |client| {
        // Only searches wait.
        let refused = Answer::new(429).header("Retry-After", "3600").error_code("SECONDLY");
        let permit = client.acquire("hubspot/acme").operation("search").await.unwrap();
        permit.release().answer("hubspot", refused).await.unwrap();
        let served = Answer::new(200)
            .header("X-HubSpot-RateLimit-Daily", "620000")
            .header("X-HubSpot-RateLimit-Daily-Remaining", "612000");
        let permit = client.acquire("hubspot/acme").operation("contacts").await.unwrap();
        permit.release().answer("hubspot", served).await.unwrap();
    });

    // Two are ours.
    cluster
        .tollgate(&["resource", "usage", "hubspot/acme"])
        .expect(0, "search: held by the vendor for")
        .expect(0, "daily: 7,998 used by others");
    let usage = cluster.tollgate(&["resource", "usage", "hubspot/acme", "--output", "json"]).json();
    assert_eq!((&usage["conditions"], &usage["pause"]), (&serde_json::json!([]), &().into()));
    assert_eq!(usage["tightened"][0]["limit"], "daily");
    let list = cluster.list();
    assert!(list[0].starts_with("hubspot/acme") && list[0].contains("  tightened  "), "{list:?}");

    cluster.with_client(async |client| {
        let wait = Answer::new(429).header("Retry-After", "600");
        client.report("salesforce/acme").answer("hubspot", wait).await.unwrap();
    });
    let list = cluster.list();
    assert!(list[0].starts_with("salesforce/acme") && list[0].contains("  paused 1"), "{list:?}");
    assert!(list[1].starts_with("hubspot/acme"), "{list:?}");
}
