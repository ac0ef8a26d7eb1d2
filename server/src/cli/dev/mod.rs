//! `tollgate dev`: three nodes on this machine, as processes of their own, so that killing one shows the failover.

mod hints;
mod node;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

use futures_util::future::select_all;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};
use tollgate_client::{Client, Error, v1::GetClusterResponse};

pub(super) use self::node::{Layout, Node};
use super::{
    Failure, duration, output,
    preset::Own,
    resource::{Plan, parse},
};
use crate::{preset::Presets, raft::members::NodeId, storage::data_dir::is_in_use};

/// What a fresh cluster is given to try things with.
const SAMPLES: &str = include_str!("../../../../deploy/resources.example.toml");

/// How long three nodes may take to elect a leader. Ample: a slow disk creates the logs.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long nodes may take to hand over and stop before they are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the nodes keep their data, configuration and logs.
    #[arg(long, value_name = "DIR", default_value = ".tollgate")]
    data_dir: PathBuf,

    /// The first node's port for clients; the next two are for its peers and for HTTP, and the other nodes' are 10 and 20
    /// higher.
    #[arg(long, value_name = "PORT", default_value_t = 7600, value_parser = clap::value_parser!(u16).range(1..=65_513))]
    base_port: u16,

    /// Begin anew: delete the data of an earlier run.
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    own: Own,
}

pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let layout =
        Layout { directory: args.data_dir, base_port: args.base_port, presets: args.own.absolute()? };
    prepare(&layout, args.fresh)?;
    let mut nodes = layout.ids().map(|id| Node::start(&layout, id)).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(layout.ids().map(|id| layout.client_address(id)))?;

    let ended = tokio::select! {
        ended = serve(&layout, &mut nodes, &client) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    stop(&mut nodes).await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Starts the cluster and reports what becomes of it. Ends only with the last of the nodes, or when they cannot start.
async fn serve(layout: &Layout, nodes: &mut Vec<Node>, client: &Client) -> Result<(), Failure> {
    let started = tokio::select! {
        view = healthy(client) => view?,
        failure = first_end(layout, nodes) => return Err(failure),
    };
    let samples = create_samples(client).await?;
    let pids: BTreeMap<NodeId, u32> =
        nodes.iter().filter_map(|node| Some((node.id, node.process_id()?))).collect();
    output::print(&hints::welcome(layout, &pids, started.leader_id, &samples))?;

    while !nodes.is_empty() {
        let (node, how) = next_end(nodes).await;
        let restart = layout.restart_command(node.id);
        output::print(&format!("node {} {how}. Start it again with:\n  {restart}", node.id))?;
        tokio::spawn(announce_leader(client.clone(), node.id));
    }
    Err(Failure::new("all nodes have ended"))
}

/// Writes the configurations, unless a cluster runs there. Those of an earlier run stay, with its data, if they say the same.
pub(super) fn prepare(layout: &Layout, fresh: bool) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(format!("cannot {what} {}: {error}", layout.directory.display()))
    };
    if let Some(id) = layout.ids().find(|id| is_in_use(&layout.data(*id))) {
        let data = layout.data(id);
        return Err(Failure::new(format!("a cluster runs on {}", data.display()))
            .advise("Stop it first, or give this one a --base-port and a --data-dir of its own."));
    }
    if fresh {
        layout.remove().map_err(|error| failed("delete the earlier run in", error))?;
    }
    fs::create_dir_all(&layout.directory).map_err(|error| failed("create", error))?;
    let found = |id| fs::read_to_string(layout.configuration(id)).ok();
    let foreign = |&id: &NodeId| layout.data(id).exists() && found(id) != Some(layout.configuration_text(id));
    if let Some(id) = layout.ids().find(foreign) {
        let data = layout.data(id);
        return Err(Failure::new(format!("{} is of a cluster with other settings", data.display())).advise(
            "Use the --base-port and --data-dir of then, or --fresh to delete the data of that cluster.",
        ));
    }
    for id in layout.ids() {
        fs::write(layout.configuration(id), layout.configuration_text(id))
            .map_err(|error| failed("write into", error))?;
    }
    Ok(())
}

/// Waits until there is a leader and all nodes have joined it.
pub(super) async fn healthy(client: &Client) -> Result<GetClusterResponse, Failure> {
    let look = client.clone().with_deadline(Duration::from_secs(2));
    let wait = async {
        loop {
            match look.cluster().get().await {
                Ok(view) if view.leader_id != 0 && view.members.iter().all(|member| member.reachable) => {
                    return view;
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    };
    timeout(START_PATIENCE, wait).await.map_err(|_| {
        let patience = duration::human(START_PATIENCE);
        Failure::new(format!("the nodes found no leader within {patience}; their logs say more"))
    })
}

/// A node that ends before the cluster is healthy cannot work here: its log says why.
pub(super) async fn first_end(layout: &Layout, nodes: &mut Vec<Node>) -> Failure {
    let (node, how) = next_end(nodes).await;
    let log = layout.log(node.id);
    Failure::new(format!(
        "node {} {how}. {} ends with:\n{}",
        node.id,
        log.display(),
        layout.log_tail(node.id)
    ))
}

/// Waits for the end of any node, and takes it off the list.
async fn next_end(nodes: &mut Vec<Node>) -> (Node, String) {
    let (how, index, _) = select_all(nodes.iter_mut().map(|node| Box::pin(node.ended()))).await;
    (nodes.swap_remove(index), how)
}

/// Creates the sample resources that are absent; the names of all of them.
async fn create_samples(client: &Client) -> Result<Vec<String>, Failure> {
    let samples = parse(SAMPLES, Presets::embedded()).map_err(|faulty| Failure::new(faulty.to_string()))?;
    let mut names = Vec::new();
    for sample in samples {
        names.push(sample.name.clone());
        let plan = Plan::make(client, sample).await?;
        match plan.create(client).await {
            // A try that was thought lost did it.
            Ok(()) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(names)
}

/// Tells how long the cluster took to find a leader again.
async fn announce_leader(client: Client, ended: NodeId) {
    let since = Instant::now();
    let look = client.with_deadline(Duration::from_secs(1));
    while since.elapsed() < START_PATIENCE {
        match look.cluster().get().await {
            Ok(view) if view.leader_id != 0 && view.leader_id != ended => {
                let took = duration::human(since.elapsed());
                // Nobody may be reading any more.
                let _ = output::print(&format!("node {} leads ({took} later)", view.leader_id));
                return;
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

/// Stops all nodes: they hand over and end by themselves, or are killed.
pub(super) async fn stop(nodes: &mut Vec<Node>) {
    nodes.iter().for_each(Node::terminate);
    let all_end = async {
        while !nodes.is_empty() {
            next_end(nodes).await;
        }
    };
    // Those that are left are killed when they are dropped.
    if timeout(STOP_PATIENCE, all_end).await.is_err() {
        eprintln!(
            "killing {} nodes that did not stop within {}",
            nodes.len(),
            duration::human(STOP_PATIENCE)
        );
    }
}

pub(super) fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))
}
