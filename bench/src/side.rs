//! What is loaded: a part of the cluster, or the floor. Each side has connections of its own.

use std::net::SocketAddr;

use tollgate_client::v1::{GetClusterResponse, Member};
use tonic::transport::Endpoint;

use crate::{calls::Connection, cpu::Process, error::Error, plan::Target};

/// As nodes and the Rust client have it: with less, h2 takes many small messages at once for a flood.
pub const WINDOW: u32 = 8 << 20;

/// One of those that are loaded in turn.
pub struct Side {
    /// As the report names it.
    pub name: &'static str,
    /// The connections, 1 or more.
    pub connections: Vec<Connection>,
    /// Where the nodes of the cluster are that it stands for; none for the floor.
    pub addresses: Vec<String>,
    /// The processes that do its work, with their names, as far as they are of this machine.
    pub processes: Vec<(String, Process)>,
}

impl Side {
    /// Connects to a part of the cluster.
    pub async fn of_cluster(
        target: Target,
        cluster: &GetClusterResponse,
        connections: usize,
    ) -> Result<Side, Error> {
        let members = members(target, cluster)?;
        if connections < members.len() {
            let (least, target) = (members.len(), target.name());
            return Err(Error::Usage(format!(
                "--connections must be at least {least} for --target {target}, one for each node"
            )));
        }
        let addresses = members.iter().cycle().take(connections).map(|member| member.client_address.as_str());
        let connections = connect(addresses).await?;
        let addresses = members.iter().map(|member| member.client_address.clone()).collect();
        let mut processes = Vec::new();
        for member in &cluster.members {
            if let Some(process) = process(&member.client_address).await {
                let leads = if member.leader { " (leader)" } else { "" };
                processes.push((format!("node {}{leads}", member.id), process));
            }
        }
        Ok(Side { name: target.name(), connections, addresses, processes })
    }

    /// Connects to the floor.
    pub async fn of_floor(address: SocketAddr, process_id: u32, connections: usize) -> Result<Side, Error> {
        let address = address.to_string();
        let connections = connect(std::iter::repeat_n(address.as_str(), connections)).await?;
        let processes = vec![("floor".to_owned(), Process(process_id))];
        Ok(Side { name: "floor", connections, addresses: Vec::new(), processes })
    }
}

fn members(target: Target, cluster: &GetClusterResponse) -> Result<Vec<&Member>, Error> {
    let mut members: Vec<&Member> = cluster.members.iter().filter(|member| member.reachable).collect();
    match target {
        Target::All => {}
        Target::Leader => members.retain(|member| member.leader),
        Target::Follower => {
            members.retain(|member| !member.leader);
            members.truncate(1);
        }
    }
    match members.is_empty() {
        true => Err(Error::Target(format!("the cluster has no {} that can be reached", target.name()))),
        false => Ok(members),
    }
}

async fn connect(addresses: impl Iterator<Item = &str>) -> Result<Vec<Connection>, Error> {
    let mut connections = Vec::new();
    for address in addresses {
        let failed = |source| Error::Connect { address: address.to_owned(), source };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed)?;
        let endpoint = endpoint.initial_connection_window_size(WINDOW);
        connections.push(Connection::new(endpoint.connect().await.map_err(failed)?));
    }
    Ok(connections)
}

async fn process(address: &str) -> Option<Process> {
    let mut addresses = tokio::net::lookup_host(address).await.ok()?;
    addresses.find_map(Process::listening_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_nodes_that_can_be_reached() {
        let member = |id, leader, reachable| Member { id, leader, reachable, ..Member::default() };
        let cluster = GetClusterResponse {
            members: vec![member(1, false, false), member(2, true, true), member(3, false, true)],
            ..GetClusterResponse::default()
        };
        let ids =
            |target| members(target, &cluster).unwrap().iter().map(|member| member.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(Target::Leader), ids(Target::Follower), ids(Target::All)),
            (vec![2], vec![3], vec![2, 3])
        );
        let alone =
            GetClusterResponse { members: vec![member(1, true, true)], ..GetClusterResponse::default() };
        assert!(
            members(Target::Follower, &alone).is_err_and(|error| error.to_string().contains("no follower"))
        );
    }
}
