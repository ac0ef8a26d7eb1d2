//! The services over a real connection, before a replica that is played by a function.

mod alternatives;
mod answers;
mod availability;
mod circuits;
mod coalesce;
mod feedback;
mod frames;
mod health;
mod input;
mod limiter;
mod plan;
mod stream;
mod waiting;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tollgate_limiter::{
    Command, Denial, DenialReason, Grant, Label, LimitName, Outcome, PermitId, Rejection, Span,
};
use tollgate_proto::v1;
use tonic::transport::{Channel, Endpoint, Server};

use super::routes;
use crate::{
    metrics::Metrics,
    node::{Node, Strangers, Versions},
    preset::Presets,
    raft::{
        call::{Call, Refusal, Reply},
        door::{Status, Ticket, door},
        members::{Member, Members, NodeId},
        replies::Replies,
    },
    router::{Forward, Router},
};

const THIS: NodeId = 1;

/// What a replica answers; by `None` never.
type Played = Option<Result<Reply, Refusal>>;

/// A served node, and what its replica was asked. It is gone when this is dropped.
struct Rig {
    channel: Channel,
    node: Node,
    asked: Arc<Mutex<Vec<Call>>>,
    /// Tickets that the replica does not answer.
    open: Arc<Mutex<Vec<Ticket>>>,
    status: watch::Sender<Status>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Rig {
    /// Serves a leader whose replica answers by `replica`.
    async fn leading(replica: impl FnMut(&Call) -> Played + Send + 'static) -> Rig {
        let rig = Rig::leaderless(replica).await;
        rig.status.send_modify(|status| status.leader = Some(THIS));
        rig
    }

    /// Serves a node that knows no leader.
    async fn leaderless(replica: impl FnMut(&Call) -> Played + Send + 'static) -> Rig {
        Rig::with_presets(Presets::embedded().clone(), replica).await
    }

    /// As [`leaderless`](Rig::leaderless), with presets of its own.
    async fn with_presets(
        presets: Presets,
        mut replica: impl FnMut(&Call) -> Played + Send + 'static,
    ) -> Rig {
        let (door, mut inside) = door();
        inside.status.send_replace(Status { id: THIS, members: Arc::new(members()), ..Status::default() });
        let node = Node {
            cluster: "test".into(),
            id: THIS,
            router: Router::new(THIS, door.clone(), Arc::new(Nobody)),
            status: door.status(),
            metrics: Metrics::new(&mut Registry::default()),
            versions: Versions::default(),
            presets: Arc::new(presets),
            strangers: Strangers::default(),
            stopping: CancellationToken::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_routes(routes(node.clone()));
        let served = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        let (asked, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (calls, unanswered) = (asked.clone(), open.clone());
        let played = tokio::spawn(async move {
            while let Some(ticket) = inside.calls.recv().await {
                calls.lock().push(ticket.call.clone());
                match replica(&ticket.call) {
                    // Who gave up does not read it.
                    Some(reply) => drop(ticket.reply.send(reply)),
                    None => unanswered.lock().push(ticket),
                }
            }
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Rig { channel, node, asked, open, status: inside.status, tasks: [served, played] }
    }

    fn permits(&self) -> v1::permit_service_client::PermitServiceClient<Channel> {
        v1::permit_service_client::PermitServiceClient::new(self.channel.clone())
    }

    fn resources(&self) -> v1::resource_service_client::ResourceServiceClient<Channel> {
        v1::resource_service_client::ResourceServiceClient::new(self.channel.clone())
    }

    fn plans(&self) -> v1::planning_service_client::PlanningServiceClient<Channel> {
        v1::planning_service_client::PlanningServiceClient::new(self.channel.clone())
    }

    fn cluster(&self) -> v1::cluster_service_client::ClusterServiceClient<Channel> {
        v1::cluster_service_client::ClusterServiceClient::new(self.channel.clone())
    }
}

struct Nobody;

impl Forward for Nobody {
    fn forward(&self, _: NodeId, calls: Vec<Call>) -> Replies {
        Replies::refused(calls.len(), &Refusal::NotLeader { leader: None })
    }
}

fn members() -> Members {
    let this = Member {
        id: THIS,
        peer_address: "127.0.0.1:7601".into(),
        client_address: "127.0.0.1:7600".into(),
        http_address: String::new(),
        incarnation: None,
    };
    Members { by_id: [(THIS, this)].into(), ..Members::default() }
}

/// Grants every cost below 100 as the permit of that number; denies 100; rejects more.
fn by_cost(call: &Call) -> Played {
    let Call::Command { command: Command::Acquire(acquire), .. } = call else { return not_found(call) };
    let answer = match acquire.cost {
        0..100 => Ok(Outcome::Granted(Grant {
            permit: PermitId(acquire.cost),
            key: Label::default(),
            use_within: Some(Span::from_millis(500)),
            lease: None,
            slots: Default::default(),
            usage: Default::default(),
            replayed: false,
            alternative: 0,
        })),
        100 => Ok(Outcome::Denied(Denial {
            limit: LimitName::new("daily").ok(),
            exhausted: vec![],
            retry_after: Some(Span::from_millis(1500)),
            reason: DenialReason::LimitExhausted,
            alternative: 0,
        })),
        _ => Err(Rejection::ResourceNotFound),
    };
    Some(Ok(answer.into()))
}

/// Knows no permits and no resources.
fn not_found(call: &Call) -> Played {
    let rejection = match call {
        Call::Command { command: Command::Renew(_) | Command::Release(_), .. } => Rejection::PermitNotFound,
        _ => Rejection::ResourceNotFound,
    };
    Some(Ok(Err(rejection).into()))
}

fn silent(_: &Call) -> Played {
    None
}

fn acquire(cost: u64) -> v1::AcquirePermitRequest {
    v1::AcquirePermitRequest { resource: "vendor/account".into(), cost: Some(cost), ..Default::default() }
}

/// The permit, or how it was denied or failed.
fn told(response: v1::AcquirePermitResponse) -> String {
    use v1::acquire_permit_response::Decision;
    match response.decision {
        Some(Decision::Granted(granted)) => granted.permit_id,
        Some(Decision::Denied(denied)) => format!("denied by {}", denied.limit),
        Some(Decision::Result(shared)) => format!("a result of {} bytes", shared.result.len()),
        None => panic!("no decision"),
    }
}
