//! From a plan to a report.

use std::{sync::Arc, time::Duration};

use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};
use tollgate_client::Client;
use tollgate_proto::v1::{
    AcquirePermitResponse, AcquirePermitsRequest, ReleasePermitRequest, RenewPermitRequest,
    acquire_permit_result, permit_service_client::PermitServiceClient,
};
use tonic::transport::Channel;

use crate::{
    calls::{granted, problem, problem_of_call},
    cpu::Process,
    error::Error,
    floor::{Answers, FloorChild},
    plan::{Calls, Cycle, Plan, SLICE, Shape, Stream},
    progress::Progress,
    report::{Cpu, Ratio, Report, SideReport},
    requests::Requests,
    resources::Resources,
    side::Side,
    slice::slice,
    tally::Tally,
};

/// Requests in one batch, at most.
const BATCH_MAX: usize = 1_000;

/// Measures. `floor` is a command that runs [`crate::serve_until_parent_ends`]; it is started only if the plan has a floor.
///
/// # Errors
///
/// Whatever keeps it from measuring. The resources are removed in any case, as far as the cluster answers.
pub async fn run(client: &Client, plan: Plan, floor: Command) -> Result<Report, Error> {
    let resources = Resources::name(&plan);
    // Both, or a time limit around it leaves the resources behind.
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let measured = tokio::select! {
        measured = measure(client, plan, &resources, floor) => measured,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
        _ = terminated.recv() => Err(Error::Interrupted),
    };
    let deleted = resources.delete(client).await;
    let report = measured?;
    deleted?;
    Ok(report)
}

async fn measure(
    client: &Client,
    plan: Plan,
    resources: &Resources,
    floor: Command,
) -> Result<Report, Error> {
    let cluster = client.cluster().get().await?;
    let mut sides = Vec::new();
    for target in &plan.targets {
        sides.push(Side::of_cluster(*target, &cluster, plan.connections).await?);
    }
    resources.create(client, &plan).await?;
    let mut connection = sides[0].connections[0].clone();
    if plan.shape == Shape::Calls(Calls::Deny) {
        exhaust(&mut connection, resources).await?;
    }
    let requests = Arc::new(Requests::new(&plan, resources.names.clone()));
    // It runs as long as this value lives.
    let floor = match plan.floor {
        true => Some(FloorChild::start(floor, sample(&mut connection, &plan, &requests).await?).await?),
        false => None,
    };
    if let Some(floor) = &floor {
        sides.push(Side::of_floor(floor.address, floor.process_id, plan.connections).await?);
    }
    let rounds = load(&plan, &requests, &sides).await?;
    let after = client.cluster().get().await?;
    // Whoever lost the lead and won it back has another term.
    let leader_changed = (after.leader_id, after.term) != (cluster.leader_id, cluster.term);
    Ok(report(plan, rounds, leader_changed))
}

/// Spends the only permit of each resource.
async fn exhaust(connection: &mut PermitServiceClient<Channel>, resources: &Resources) -> Result<(), Error> {
    for names in resources.names.chunks(BATCH_MAX) {
        let request = |name: &String| tollgate_proto::v1::AcquirePermitRequest {
            resource: name.clone(),
            ..Default::default()
        };
        let batch = AcquirePermitsRequest { requests: names.iter().map(request).collect() };
        let results =
            connection.acquire_permits(batch).await.map_err(|status| unexpected(problem(&status)))?;
        for result in results.into_inner().results {
            match result.result {
                Some(acquire_permit_result::Result::Response(response)) => {
                    granted(response).map_err(unexpected)?;
                }
                Some(acquire_permit_result::Result::Error(error)) => {
                    return Err(unexpected(problem_of_call(&error)));
                }
                None => return Err(unexpected("an answer without content".to_owned())),
            }
        }
    }
    Ok(())
}

/// What the cluster answers, for the floor to repeat.
async fn sample(
    connection: &mut PermitServiceClient<Channel>,
    plan: &Plan,
    requests: &Requests,
) -> Result<Answers, Error> {
    let failed = |status: tonic::Status| unexpected(problem(&status));
    let acquired = connection.acquire_permit(requests.next()).await.map_err(failed)?.into_inner();
    let mut answers = Answers { acquired: acquired.clone(), ..Answers::default() };
    let holds = matches!(
        plan.shape,
        Shape::Calls(Calls::Lease { .. }) | Shape::Stream(Stream { cycle: Cycle::Lease { .. }, .. })
    );
    if holds {
        let permit_id = permit_id(acquired)?;
        let renewal = RenewPermitRequest { permit_id: permit_id.clone(), lease: None };
        answers.renewed = connection.renew_permit(renewal).await.map_err(failed)?.into_inner();
        let release = ReleasePermitRequest { permit_id, ..ReleasePermitRequest::default() };
        answers.released = connection.release_permit(release).await.map_err(failed)?.into_inner();
    }
    Ok(answers)
}

fn permit_id(acquired: AcquirePermitResponse) -> Result<String, Error> {
    granted(acquired).map(|permit| permit.permit_id).map_err(unexpected)
}

fn unexpected(problem: String) -> Error {
    Error::Unexpected(problem)
}

/// What came of one side, slice by slice.
struct Loaded<'a> {
    side: &'a Side,
    rates: Vec<f64>,
    tally: Tally,
    /// As the processes of the side, then the generator.
    cpu: Vec<Option<Duration>>,
}

/// Warms all sides up, then loads them in turn. A side that is alone is loaded in one go.
async fn load<'a>(
    plan: &Plan,
    requests: &Arc<Requests>,
    sides: &'a [Side],
) -> Result<Vec<Loaded<'a>>, Error> {
    let sides_count = u32::try_from(sides.len()).unwrap_or(u32::MAX);
    let progress = Progress::of((plan.duration + plan.warm_up) * sides_count);
    for side in sides.iter().filter(|_| !plan.warm_up.is_zero()) {
        progress.say(&format!("{}, warming up", side.name));
        progress.during(plan.warm_up, slice(plan, requests, side, plan.warm_up)).await?;
    }
    let mut loaded: Vec<Loaded> = sides.iter().map(Loaded::new).collect();
    let (rounds, length) = if sides.len() == 1 { (1, plan.duration) } else { (plan.rounds(), SLICE) };
    for _ in 0..rounds {
        for loaded in &mut loaded {
            progress.say(loaded.side.name);
            let before = loaded.cpu_now();
            let tally = progress.during(length, slice(plan, requests, loaded.side, length)).await?;
            loaded.add(tally, length, &before);
        }
    }
    Ok(loaded)
}

impl<'a> Loaded<'a> {
    fn new(side: &'a Side) -> Loaded<'a> {
        let cpu = vec![Some(Duration::ZERO); side.processes.len() + 1];
        Loaded { side, rates: Vec::new(), tally: Tally::default(), cpu }
    }

    fn cpu_now(&self) -> Vec<Option<Duration>> {
        let generator = Process(std::process::id());
        let processes = self.side.processes.iter().map(|(_, process)| *process);
        processes.chain([generator]).map(Process::cpu).collect()
    }

    fn add(&mut self, tally: Tally, length: Duration, cpu_before: &[Option<Duration>]) {
        let cpu_now = self.cpu_now();
        for (sum, (now, before)) in self.cpu.iter_mut().zip(cpu_now.into_iter().zip(cpu_before)) {
            *sum = sum.zip(now.zip(*before)).map(|(sum, (now, before))| sum + now.saturating_sub(before));
        }
        self.rates.push(tally.in_time as f64 / length.as_secs_f64());
        self.tally.merge(tally);
    }

    /// What each process took for an operation.
    fn cpu_per_operation(&self) -> Vec<Cpu> {
        let names = self.side.processes.iter().map(|(name, _)| name.as_str()).chain(["generator"]);
        let operations = self.tally.operations.max(1) as f64;
        names
            .zip(&self.cpu)
            .filter_map(|(process, used)| {
                let micros_per_operation = (*used)?.as_secs_f64() * 1e6 / operations;
                Some(Cpu { process: process.to_owned(), micros_per_operation })
            })
            .collect()
    }
}

fn report(plan: Plan, loaded: Vec<Loaded>, leader_changed: bool) -> Report {
    let targets = plan.targets.len();
    let floor = loaded.get(targets).map(|floor| floor.rates.clone());
    let first = loaded[0].rates.clone();
    let side = |(number, loaded): (usize, Loaded)| {
        let is_target = number < targets;
        let of_floor = floor.as_ref().filter(|_| is_target).and_then(|floor| Ratio::of(&loaded.rates, floor));
        let of_first = Some(&first).filter(|_| is_target && number > 0);
        SideReport {
            name: loaded.side.name,
            cpu: loaded.cpu_per_operation(),
            of_floor,
            of_first: of_first.and_then(|first| Ratio::of(&loaded.rates, first)),
            rates: loaded.rates,
            tally: loaded.tally,
        }
    };
    let sides = loaded.into_iter().enumerate().map(side).collect();
    Report { plan, sides, leader_changed }
}
