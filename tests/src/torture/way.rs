//! How a client reaches the cluster. The Rust client aims at the leader, by a call for each permit; stubs of other languages
//! know one address, behind which a follower hands their calls on to the leader, and many ask over one stream.

use std::time::Duration;

use tollgate_client::Client;
use tonic::transport::Endpoint;

use super::seat::FOUNDERS;
use crate::history::ClientId;

/// How long a connection to one node may take to be made, as those of the Rust client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often such a connection is probed, and how long the answer may take, as those of the Rust client.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));

/// The way of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// It asks nobody but the node that sits here, which forwards when another one leads. None: it aims at the leader.
    pub seat: Option<usize>,
    /// It asks for permits over a two-way stream, not by a call for each.
    pub streams: bool,
}

impl Way {
    /// That of the client with this number: each way in turn, through each of the founders' seats in turn.
    pub fn of(client: ClientId) -> Way {
        let seat = (client as usize / 4) % FOUNDERS;
        Way { seat: (client % 2 == 1).then_some(seat), streams: client % 4 >= 2 }
    }

    /// A client that goes this way to the nodes with these addresses, by seat.
    pub fn client(self, nodes: &[String]) -> Client {
        let Some(seat) = self.seat else {
            return Client::connect(nodes).expect("the addresses of our own nodes");
        };
        let node = Endpoint::from_shared(format!("http://{}", nodes[seat]));
        let (every, patience) = KEEP_ALIVE;
        let node = node
            .expect("the address of our own node")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(every)
            .keep_alive_timeout(patience);
        Client::over(node.connect_lazy())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::torture::load::CLIENTS;

    #[test]
    fn every_way_is_gone_through_every_seat() {
        let gone: BTreeSet<_> = (0..CLIENTS).map(Way::of).collect();
        let seats = [None].into_iter().chain((0..FOUNDERS).map(Some));
        let all: BTreeSet<_> =
            seats.flat_map(|seat| [false, true].map(|streams| Way { seat, streams })).collect();
        assert_eq!(gone, all);
    }

    #[test]
    fn half_of_the_clients_aim_at_the_leader() {
        let aim = (0..CLIENTS).filter(|client| Way::of(*client).seat.is_none());
        assert_eq!(aim.count() as u64, CLIENTS / 2);
    }
}
