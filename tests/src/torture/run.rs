//! A run: session after session, each on a fresh cluster, until the time is over.

use std::{ops::ControlFlow, time::Duration};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::Instant;

use super::{
    fault::Fault,
    network::{Kind, Network},
    report::Report,
    session,
};

/// How long a session is: long enough for dozens of faults on one cluster, short enough for its history to be judged in
/// memory.
const SESSION: Duration = Duration::from_secs(240);

/// Kills of the leader among every round of the other faults: how soon a cluster recovers from them is a promise, and
/// percentiles need many.
const LEADER_KILLS: usize = 6;

/// Draws faults: every one of them once before any comes again.
struct Deck {
    faults: Vec<Fault>,
    rng: StdRng,
    left: Vec<Fault>,
}

impl Iterator for Deck {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            self.left = self.faults.clone();
            self.left.shuffle(&mut self.rng);
        }
        self.left.pop()
    }
}

/// Faults at random for so long, on both kinds of networks in turn: all kinds, or these only. Each session's network and
/// faults follow from the report's seed. Whoever stops this early, or wants to know how it goes, has the report of all
/// sessions that are over; `after` is told after each.
///
/// # Errors
/// What the machine cannot do at all. When one cluster has come to stand, that another does not is a violation.
pub async fn random(
    report: &mut Report,
    length: Duration,
    only: &[Fault],
    mut after: impl FnMut(&Report),
) -> Result<(), String> {
    let began = Instant::now();
    let mut faults = only.to_vec();
    if faults.is_empty() {
        faults = Fault::ALL.to_vec();
        faults.extend([Fault::KillLeader; LEADER_KILLS - 1]);
    }
    let mut deck = Deck { faults, rng: StdRng::seed_from_u64(report.seed), left: Vec::new() };
    let kinds = networks(report).await;
    let mut goes_on = ControlFlow::Continue(());
    while began.elapsed() < length && goes_on.is_continue() {
        let kind = kinds[report.sessions as usize % kinds.len()];
        let ends_at = Instant::now() + SESSION.min(length - began.elapsed());
        eprintln!("session {} of seed {}, network by {}", report.sessions + 1, report.seed, kind.name());
        let seed = report.seed.wrapping_add(report.sessions << 32);
        goes_on = report.add_or_accuse(session::run(kind, seed, &mut deck, ends_at).await)?;
        report.took = began.elapsed();
        after(report);
    }
    Ok(())
}

/// These faults, once each in this order, for as long as there is time, on one cluster.
///
/// # Errors
/// What the machine cannot do at all.
pub async fn listed(faults: &[Fault], kind: Kind, seed: u64, length: Duration) -> Result<Report, String> {
    let began = Instant::now();
    let session = session::run(kind, seed, &mut faults.iter().copied(), began + length).await?;
    let mut report = Report { seed, took: began.elapsed(), ..Report::default() };
    report.add(session);
    Ok(report)
}

/// What this machine can do.
async fn networks(report: &mut Report) -> Vec<Kind> {
    match Network::new(Kind::Namespaces).await {
        Ok(_) => Kind::ALL.to_vec(),
        Err(why) => {
            report.absent.push(format!("no network namespaces: {why}"));
            vec![Kind::Proxies]
        }
    }
}
