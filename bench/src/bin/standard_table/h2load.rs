//! The same load by a generator that knows nothing of Tollgate: h2load, of nghttp2, with a fixed body. It takes every answer with
//! status 200 for a success, also a refusal; so what it counts at the leader must have been granted by the leader's own count.

use std::{error::Error, fs};

use prost::Message;
use tokio::process::Command;
use tollgate_bench::{Answers, FloorChild};
use tollgate_client::{
    Client,
    v1::{AcquirePermitRequest, Limit, Member, Resource, TokenBucket, limit::Kind},
};
use tollgate_proto::v1::permit_service_client::PermitServiceClient;

use super::{cluster::Cluster, grants, h2load_output::Run};

const RESOURCE: &str = "bench-h2load/0";
const PATH: &str = "tollgate.v1.PermitService/AcquirePermit";
const CONNECTIONS: &str = "4";
const STREAMS_PER_CONNECTION: &str = "64";

/// Whether the machine has it.
pub async fn is_installed() -> bool {
    Command::new("h2load").arg("--version").output().await.is_ok_and(|output| output.status.success())
}

/// Requests per second at the leader and at the floor, in turn, a second each.
pub async fn pairs(cluster: &Cluster, rounds: u32) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let client = Client::connect(cluster.nodes().split(','))?;
    // One that failed may have left it.
    delete(&client).await?;
    client.resources().create(resource()).await?;
    let pairs = measure(cluster, &client, rounds).await;
    delete(&client).await?;
    pairs
}

async fn delete(client: &Client) -> Result<(), tollgate_client::Error> {
    match client.resources().delete(RESOURCE, 0).await {
        Err(tollgate_client::Error::NotFound { .. }) => Ok(()),
        deleted => deleted,
    }
}

async fn measure(cluster: &Cluster, client: &Client, rounds: u32) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let members = client.cluster().get().await?.members;
    let leader = members.into_iter().find(|member| member.leader).ok_or("nobody leads")?;
    let request = AcquirePermitRequest { resource: RESOURCE.to_owned(), ..AcquirePermitRequest::default() };
    let mut permits = PermitServiceClient::connect(format!("http://{}", leader.client_address)).await?;
    let acquired = permits.acquire_permit(request.clone()).await?.into_inner();
    let mut command = Command::new(&cluster.tollgate);
    command.arg("bench-floor");
    let floor = FloorChild::start(command, Answers { acquired, ..Answers::default() }).await?;

    let body = cluster.data_dir.join("h2load-body");
    fs::write(&body, framed(&request))?;
    let (body, floor) = (body.to_string_lossy().into_owned(), floor.address.to_string());
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let by_leader = load_leader(&leader, &body).await?;
        let by_floor = load(&floor, &body).await?;
        pairs.push((by_leader.requests_per_second, by_floor.requests_per_second));
    }
    Ok(pairs)
}

/// A run in which each request that counts was granted. Those that were open at its end may have been, beside them.
async fn load_leader(leader: &Member, body: &str) -> Result<Run, Box<dyn Error>> {
    let before = grants::count(&leader.http_address, RESOURCE).await?;
    let run = load(&leader.client_address, body).await?;
    let granted = grants::count(&leader.http_address, RESOURCE).await?.saturating_sub(before);
    match granted >= run.succeeded {
        true => Ok(run),
        false => Err(format!("of {} answers to h2load the leader granted {granted}", run.succeeded).into()),
    }
}

async fn load(address: &str, body: &str) -> Result<Run, Box<dyn Error>> {
    let url = format!("http://{address}/{PATH}");
    let mut command = Command::new("h2load");
    command.args(["-c", CONNECTIONS, "-m", STREAMS_PER_CONNECTION, "-D", "1", "-d", body]);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", &url]);
    let output = command.output().await?;
    if !output.status.success() {
        return Err(format!("h2load failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Run::read(&String::from_utf8(output.stdout)?)?)
}

/// As gRPC frames a message: not compressed, its length, itself.
fn framed(request: &AcquirePermitRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a request is short");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

fn resource() -> Resource {
    let bucket = TokenBucket {
        capacity: 1_000_000_000_000,
        refill_amount: 1_000_000_000_000,
        refill_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    let limit = Limit { name: "rate".to_owned(), kind: Some(Kind::TokenBucket(bucket)), ..Limit::default() };
    Resource { name: RESOURCE.to_owned(), limits: vec![limit], ..Resource::default() }
}
