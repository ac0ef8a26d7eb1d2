use super::*;
use crate::torture::seat::FOUNDERS;

/// A run that has shown everything.
fn full() -> Report {
    let mut session = Session::new(Kind::Proxies);
    session.strikes = vec![(Fault::KillAll, Struck::Over)];
    session.tally = Tally { grants: 2, streamed: 1, through: [1; FOUNDERS], ..Tally::default() };
    session.seen = SEEN.map(|what| (what, 1)).into();
    let mut report = Report::default();
    report.add(session);
    report
}

fn recovered(millis: impl IntoIterator<Item = u64>) -> Report {
    Report { recoveries: millis.into_iter().map(Duration::from_millis).collect(), ..full() }
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let report = recovered(1..=200);
    let millis = [50, 99, 100].map(|percent| report.recovery(percent).unwrap().as_millis());
    assert_eq!(millis, [100, 198, 200]);
    assert_eq!(Report::default().recovery(50), None);
}

#[test]
fn a_run_that_has_shown_nothing_falls_short() {
    assert_eq!(full().shortfalls(), [""; 0]);
    let nothing = Report::default().shortfalls();
    assert_eq!(
        nothing[..3],
        ["no fault was struck", "nothing was granted", "nothing was granted over a stream"]
    );
    assert_eq!(nothing.len(), 3 + FOUNDERS + SEEN.len());
}

#[test]
fn every_way_to_the_cluster_must_have_been_gone() {
    let mut report = full();
    assert!(report.to_string().contains("by its seat: 1, 1, 1."), "{report}");
    report.tally.streamed = 0;
    assert_eq!(report.shortfalls(), ["nothing was granted over a stream"]);
    let mut report = full();
    report.tally.through[2] = 0;
    assert_eq!(report.shortfalls(), ["nothing was granted through the node of seat 2"]);
}

#[test]
fn each_checker_must_have_looked_at_something() {
    for what in SEEN {
        let mut report = full();
        report.seen.insert(what, 0);
        assert_eq!(report.shortfalls(), [format!("the checkers saw no {what}")]);
        report.seen.remove(what);
        assert_eq!(report.shortfalls().len(), 1);
    }
}

#[test]
fn a_fault_that_was_only_skipped_shows_nothing() {
    let mut report = full();
    report.struck.clear();
    report.skipped.insert(Fault::SlowFsync, "there is no strace".to_owned());
    assert_eq!(report.shortfalls(), ["no fault was struck"]);
    assert!(report.to_string().contains("| fsync slow | skipped: there is no strace |"), "{report}");
}

#[test]
fn what_one_network_skips_and_another_strikes_is_told_once() {
    let mut report = full();
    report.struck.insert(Fault::DelayAll, 3);
    report.skipped.insert(Fault::DelayAll, "network namespaces only lose packets".to_owned());
    assert_eq!(report.to_string().matches(Fault::DelayAll.name()).count(), 1, "{report}");
}

#[test]
fn checkers_without_evidence_are_left_out_but_not_those_that_must_have_some() {
    let mut report = full();
    report.seen.extend([("S8 leaders", 0), ("S9 requests that failed", 0)]);
    let words = report.to_string();
    assert!(!words.contains("S8 leaders") && words.contains("* 0 S9 requests that failed"), "{words}");
    assert!(words.contains("## Not shown\n\n* the checkers saw no S9 requests that failed"), "{words}");
}

#[test]
fn a_report_says_by_what_networks_were_cut() {
    let mut report = full();
    report.absent.push("no network namespaces: ip link add: Operation not permitted".to_owned());
    let words = report.to_string();
    assert!(words.contains("Networks: 1 by proxies, 0 by network namespaces."), "{words}");
    assert!(words.contains("This machine has no network namespaces: ip link add"), "{words}");
}

#[test]
fn recovery_has_targets_from_so_many_kills_on_that_percentiles_mean_something() {
    assert_eq!(recovered([9_000; 19]).missed_targets(), [""; 0]);
    assert_eq!(recovered([1_000; 20]).missed_targets(), [""; 0]);
    assert_eq!(
        recovered([1_100; 20]).missed_targets(),
        ["recovery: 50 % of 20 took up to 1.10s, 1s are meant"]
    );
    let worst = |last| recovered([900; 98].into_iter().chain(last)).missed_targets();
    assert_eq!(worst([1_500, 3_000]), [""; 0]);
    assert_eq!(worst([1_501, 1_501]), ["recovery: 99 % of 100 took up to 1.50s, 1.5s are meant"]);
    assert_eq!(worst([1_500, 3_100]), ["recovery: 100 % of 100 took up to 3.10s, 3s are meant"]);
}

#[test]
fn what_was_measured_is_told_and_what_was_not_is_left_out() {
    let told = full().to_string();
    assert!(!told.contains("Return of all nodes") && !told.contains("told to stop"), "{told}");
    let mut session = Session::new(Kind::Proxies);
    let terminated = |millis| Struck::LeaderTerminated(Duration::from_millis(millis));
    session.strikes = vec![
        (Fault::TerminateLeader, terminated(90)),
        (Fault::TerminateLeader, terminated(40)),
        (Fault::RollingRestart, Struck::Rolled(0)),
    ];
    session.returns = [700, 100, 300].map(Duration::from_millis).to_vec();
    let mut report = full();
    report.add(session);
    let told = report.to_string();
    for told_of in [
        "at the first look, 3 times: p50 300.00ms, p99 700.00ms, max 700.00ms.",
        "theirs), 2 times: p50 40.00ms, p99 90.00ms, max 90.00ms.",
        "gave up in rolling restarts: 0 in 1.",
    ] {
        assert!(told.contains(told_of), "{told}");
    }
    assert_eq!(report.struck[&Fault::TerminateLeader], 2);
}

#[test]
fn what_a_rolling_restart_costs_its_clients_misses_a_target() {
    let mut session = Session::new(Kind::Proxies);
    session.strikes = vec![(Fault::RollingRestart, Struck::Rolled(2))];
    let mut report = full();
    report.add(session);
    assert_eq!(report.missed_targets(), ["rolling restarts: 2 operations were given up, none are meant"]);
    assert_eq!(report.shortfalls(), [""; 0]);
}

#[test]
fn a_cluster_that_does_not_come_to_stand_is_a_violation_after_one_that_did() {
    assert_eq!(Report::default().add_or_accuse(Err("no ip".to_owned())), Err("no ip".to_owned()));
    let mut report = full();
    assert_eq!(report.add_or_accuse(Ok(Session::new(Kind::Namespaces))), Ok(ControlFlow::Continue(())));
    let broken = report.add_or_accuse(Err("not whole after 90s".to_owned()));
    assert_eq!(broken, Ok(ControlFlow::Break(())));
    assert_eq!(report.violations, ["session 3: no cluster: not whole after 90s"]);
    assert_eq!(report.sessions, 2);
}

#[test]
fn what_is_kept_is_told_and_is_no_violation() {
    let mut report = full();
    let mut session = Session::new(Kind::Proxies);
    session.violations = vec!["leader killed: node 2 has ended".to_owned()];
    session.kept = Some("logs and data are kept in /tmp/1".to_owned());
    report.add(session);
    let words = report.to_string();
    assert!(words.contains("**1 violations**"), "{words}");
    assert!(words.contains("## Kept\n\n* logs and data are kept in /tmp/1"), "{words}");
}
