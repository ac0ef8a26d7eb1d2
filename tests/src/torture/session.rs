//! One cluster, from its start to the verdict on what its clients saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};
use tollgate_client::{Client, v1};
use tollgate_limiter::{Label, LimitName, ResourceName};

use super::{
    cluster::Cluster,
    fault::{Fault, Scene, Struck},
    load::{Asker, Load, permit_id},
    network::Kind,
    recorder::Recorder,
    tally::Tally,
    way::Way,
    workload::{self, KEPT, SLOTS},
};
use crate::{
    check,
    history::{Ending, Held, History},
};

/// Who defines resources; clients have smaller numbers.
const OPERATOR: u64 = 1_000;

/// Calm between two faults, so that what one leaves behind is seen.
const CALM: Duration = Duration::from_millis(300);

/// Calm at the end: every lease that is not renewed ends in it.
const LAST_CALM: Duration = Duration::from_secs(3);

/// What came of a session.
#[derive(Debug)]
pub struct Session {
    /// What lay between its nodes.
    pub network: Kind,
    /// Every fault that was struck, in order.
    pub strikes: Vec<(Fault, Struck)>,
    /// What the clients did.
    pub tally: Tally,
    /// How long it took the nodes to come to one state, each time that they were not there at once.
    pub returns: Vec<Duration>,
    /// How much each checker looked at.
    pub seen: BTreeMap<&'static str, u64>,
    /// What does not hold. Empty for a good one.
    pub violations: Vec<String>,
    /// Where what is left of one that is not good can be looked at.
    pub kept: Option<String>,
}

/// Strikes these faults, one after the other, until there are none left or the session so far does not go on.
///
/// # Errors
/// Why there is no cluster to strike at.
pub async fn run(
    kind: Kind,
    seed: u64,
    faults: &mut dyn Iterator<Item = Fault>,
    goes_on: &dyn Fn(&Session) -> bool,
) -> Result<Session, String> {
    let mut cluster = Cluster::start(kind).await?;
    let nodes = cluster.client_addresses();
    let recorder = Arc::new(Recorder::default());
    let operator = Client::connect(&nodes).map_err(|error| error.to_string())?;
    let operator = Asker::new(operator, Way::default(), recorder.clone(), OPERATOR);
    for resource in workload::resources() {
        if operator.create(resource).await.is_none() {
            return Err(format!("the resources of the workload cannot be created; {}", cluster.keep()));
        }
    }
    let load = Load::start(&nodes, &recorder, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene { cluster: &mut cluster, recorder: &recorder, operator: &operator, rng: &mut rng };
    let mut session = Session::new(kind);
    while goes_on(&session)
        && let Some(fault) = faults.next()
    {
        sleep(CALM).await;
        if let Err(wrong) = session.strike(fault, &mut scene).await {
            session.violations.push(format!("{}: {wrong}", fault.name()));
            break;
        }
    }
    cluster.network.heal();
    let healed_at = recorder.now();
    sleep(LAST_CALM).await;
    load.stop().await;
    session.tally = recorder.tally();
    session.returns = mem::take(&mut cluster.returns);
    let (mut history, surprises) = recorder.take();
    let held = read_back(&cluster).await;
    let at = recorder.now();
    history.ending = held.as_ref().ok().map(|held| Ending {
        at,
        healed_at: Some(healed_at),
        held: Some(held.clone()),
        nodes: Vec::new(),
    });
    session.violations.extend(held.err());
    session.violations.extend(surprises);
    session.violations.extend(cluster.confessions());
    session.judge(&history);
    if !session.violations.is_empty() {
        session.kept = Some(cluster.keep_with(&history));
    }
    Ok(session)
}

impl Session {
    /// One of which nothing has come yet.
    pub fn new(network: Kind) -> Session {
        let (strikes, tally, returns, seen, violations, kept) = Default::default();
        Session { network, strikes, tally, returns, seen, violations, kept }
    }

    /// How many kinds of faults were struck, without those that were skipped.
    pub fn kinds(&self) -> usize {
        let struck = self.strikes.iter().filter(|(_, struck)| !matches!(struck, Struck::Skipped(_)));
        struck.map(|(fault, _)| fault).collect::<BTreeSet<_>>().len()
    }

    async fn strike(&mut self, fault: Fault, scene: &mut Scene<'_>) -> Result<(), String> {
        let began = Instant::now();
        let struck = fault.strike(scene).await?;
        let over = began.elapsed();
        scene.cluster.whole().await?;
        eprintln!(
            "{:<28} {over:>6.1?}, whole {:>6.1?} later {}",
            fault.name(),
            began.elapsed() - over,
            match &struck {
                Struck::Over => String::new(),
                Struck::LeaderKilled(recovery) => format!("(granted again after {recovery:.2?})"),
                Struck::LeaderTerminated(drought) => format!("(nothing granted for {drought:.2?})"),
                Struck::Rolled(given_up) => format!("({given_up} operations given up)"),
                Struck::Skipped(why) => format!("(skipped: {why})"),
            },
        );
        self.strikes.push((fault, struck));
        Ok(())
    }

    fn judge(&mut self, history: &History) {
        let verdict = check::judge(history);
        for violation in verdict.violations {
            let evidence = violation.evidence.join("\n    ");
            self.violations.push(format!("{}: {}\n    {evidence}", violation.property, violation.what));
        }
        self.seen = verdict.seen;
    }
}

/// The slots that the cluster says are held, of all that leases could not have ended by now.
async fn read_back(cluster: &Cluster) -> Result<Vec<Held>, String> {
    let mut held = Vec::new();
    for name in [SLOTS, KEPT] {
        let request = v1::GetResourceUsageRequest { name: name.to_owned(), ..Default::default() };
        let usage = cluster.client.resources().usage(request).await;
        let usage = usage.map_err(|error| format!("at the end, {name} cannot be read: {error}"))?;
        let live =
            usage.held.iter().filter(|slot| slot.lease_left.is_some_and(|left| left != Default::default()));
        held.extend(live.map(|slot| Held {
            resource: ResourceName::new(name).expect("the name of a workload's resource"),
            limit: LimitName::new(&slot.limit).expect("nodes say names"),
            scope_value: Label::new(&slot.scope_value).expect("nodes say names"),
            index: slot.index,
            permit: permit_id(&slot.permit_id),
        }));
    }
    Ok(held)
}
