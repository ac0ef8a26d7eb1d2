//! Who is a member: nodes join, leave and are replaced.

use tokio::time::{Instant, sleep};
use tollgate_client::v1;
use tollgate_server::raft::members::NodeId;

use super::{Cluster, Node, PATIENCE, POLL, wipe};
use crate::torture::seat::Seat;

impl Cluster {
    /// Starts a node with a new id and nothing on its disk, and makes it a member.
    ///
    /// # Errors
    /// What the cluster says instead.
    pub async fn join(&mut self, seat: usize) -> Result<NodeId, String> {
        let id = self.next_id;
        self.next_id += 1;
        wipe(&self.seats[seat].directory).map_err(|error| error.to_string())?;
        self.nodes.insert(id, Node { seat, joined: true, process: None });
        self.launch(id).map_err(|error| error.to_string())?;
        let Seat { client, peer_advertised, http, .. } = self.seats[seat].clone();
        let member = v1::AddMemberRequest {
            id,
            peer_address: peer_advertised,
            client_address: client,
            http_address: http,
        };
        let began = Instant::now();
        // A change that is under way, or a leader that has just changed, stands in the way for a moment.
        while let Err(error) = self.client.cluster().add(member.clone()).await {
            if self.view().await.is_ok_and(|view| view.members.iter().any(|member| member.id == id)) {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("node {id} is not added: {error}"));
            }
            sleep(POLL).await;
        }
        Ok(id)
    }

    /// Takes a member out, dead or alive. What becomes of its process is up to the caller.
    ///
    /// # Errors
    /// What the cluster says instead.
    pub async fn remove(&mut self, id: NodeId) -> Result<Node, String> {
        let began = Instant::now();
        while let Err(error) = self.client.cluster().remove(id).await {
            if self.view().await.is_ok_and(|view| view.members.iter().all(|member| member.id != id)) {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("node {id} is not removed: {error}"));
            }
            sleep(POLL).await;
        }
        self.nodes.remove(&id).ok_or_else(|| format!("there is no node {id}"))
    }

    /// Removes a node that cannot come back, and puts a new one into its seat: what `docs/OPERATIONS.md` says.
    ///
    /// # Errors
    /// As [`Cluster::join`] and [`Cluster::remove`].
    pub async fn replace(&mut self, id: NodeId) -> Result<NodeId, String> {
        let seat = self.remove(id).await?.seat;
        self.join(seat).await
    }
}
