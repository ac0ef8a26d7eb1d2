//! The same load by a generator that knows nothing of Tollgate: h2load, of nghttp2, with a fixed body.

use std::{error::Error, fs};

use prost::Message;
use tokio::process::Command;
use tollgate_bench::{Answers, FloorChild};
use tollgate_client::{
    Client,
    v1::{AcquirePermitRequest, Limit, Resource, TokenBucket, limit::Kind},
};
use tollgate_proto::v1::permit_service_client::PermitServiceClient;

use super::cluster::Cluster;

const RESOURCE: &str = "bench-h2load/0";
const PATH: &str = "tollgate.v1.PermitService/AcquirePermit";
const CONNECTIONS: &str = "4";
const STREAMS_PER_CONNECTION: &str = "64";

/// Whether the machine has it.
pub async fn is_installed() -> bool {
    Command::new("h2load").arg("--version").output().await.is_ok_and(|output| output.status.success())
}

/// Requests per second at the leader and at the floor, in turn.
pub async fn pairs(cluster: &Cluster, rounds: u32) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let client = Client::connect(cluster.nodes().split(','))?;
    client.resources().create(resource()).await?;
    let pairs = measure(cluster, &client, rounds).await;
    client.resources().delete(RESOURCE, 0).await?;
    pairs
}

async fn measure(cluster: &Cluster, client: &Client, rounds: u32) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let members = client.cluster().get().await?.members;
    let leader = members.into_iter().find(|member| member.leader).ok_or("nobody leads")?.client_address;
    let request = AcquirePermitRequest { resource: RESOURCE.to_owned(), ..AcquirePermitRequest::default() };
    let mut permits = PermitServiceClient::connect(format!("http://{leader}")).await?;
    let acquired = permits.acquire_permit(request.clone()).await?.into_inner();
    let mut command = Command::new(&cluster.tollgate);
    command.arg("bench-floor");
    let floor = FloorChild::start(command, Answers { acquired, ..Answers::default() }).await?;

    let body = cluster.data_dir.join("h2load-body");
    fs::write(&body, framed(&request))?;
    let (body, floor) = (body.to_string_lossy().into_owned(), floor.address.to_string());
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((load(&leader, &body).await?, load(&floor, &body).await?));
    }
    Ok(pairs)
}

async fn load(address: &str, body: &str) -> Result<f64, Box<dyn Error>> {
    let url = format!("http://{address}/{PATH}");
    let mut command = Command::new("h2load");
    command.args(["-c", CONNECTIONS, "-m", STREAMS_PER_CONNECTION, "-D", "1", "-d", body]);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", &url]);
    let printed = String::from_utf8(command.output().await?.stdout)?;
    rate(&printed).ok_or_else(|| format!("h2load said something else: {printed}").into())
}

/// From the line `finished in 1.00s, 45678.00 req/s, 9.87MB/s`.
fn rate(printed: &str) -> Option<f64> {
    let line = printed.lines().find(|line| line.starts_with("finished in"))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_off_what_h2load_prints() {
        let printed =
            "progress: 100% done\n\nfinished in 1.00s, 45678.50 req/s, 9.87MB/s\nrequests: 45678 total";
        assert_eq!(rate(printed), Some(45_678.5));
        assert_eq!(rate("no such host"), None);
    }
}
