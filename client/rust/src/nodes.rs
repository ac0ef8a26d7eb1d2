//! Which node to ask: the leader when it is known, else one after the other.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{
    metadata::MetadataMap,
    transport::{Channel, Endpoint, Uri},
};

use crate::error::Error;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often an idle or waiting connection is probed, and how long the answer may take: a machine that vanished is
/// noticed within their sum.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));

/// Calls that a node takes at once from one connection.
const CALLS_MAX: usize = 16_384;

/// What a node may send that was not read yet: answers to calls of this client, so there is nothing to fear. Half of it pays for
/// frames of less than 256 bytes, by what they lack, and h2 takes more of these for a flood and closes the connection
/// (RUSTSEC-2026-0258). An answer that crosses a cancellation is never paid back (h2 0.4.20), so this lasts for millions.
const WINDOW: u32 = 1 << 30;

/// How long a hint to a node that just failed is not believed. Followers name a dead leader until they notice, and a
/// leader may have an address that only the other nodes can reach.
const SHUNNED_FOR: Duration = Duration::from_secs(5);

/// One node and the connections to it, each of which is made when it is first needed.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) address: Arc<str>,
    prompt: Channel,
    /// Calls that wait have a connection of their own: a node takes only so many calls at once from one, and renewals and
    /// releases must not stand behind those who wait for what they free.
    waiting: Channel,
}

/// All nodes that this client was given, and where it aims.
pub(crate) struct Nodes {
    given: Vec<Node>,
    /// Addresses in answers are believed.
    follows: bool,
    aim: Mutex<Aim>,
}

#[derive(Default)]
struct Aim {
    leader: Option<Node>,
    /// Without a leader, `given[turn]` is asked.
    turn: usize,
    shunned: Option<(Arc<str>, Instant)>,
}

impl Nodes {
    /// Addresses are `host:port`, with or without `http://` before it.
    pub(crate) fn new(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Nodes, Error> {
        let given: Vec<Node> =
            addresses.into_iter().map(|address| Node::new(address.as_ref())).collect::<Result<_, _>>()?;
        if given.is_empty() {
            return Err(Error::invalid("nodes", "give at least one node, as host:port"));
        }
        Ok(Nodes { given, follows: true, aim: Mutex::default() })
    }

    /// One connection, whatever is at its other end.
    pub(crate) fn over(channel: Channel) -> Nodes {
        let node = Node { address: "the given channel".into(), prompt: channel.clone(), waiting: channel };
        Nodes { given: vec![node], follows: false, aim: Mutex::default() }
    }

    /// Whom to ask now.
    pub(crate) fn pick(&self) -> Node {
        let aim = self.aim.lock();
        aim.leader.clone().unwrap_or_else(|| self.given[aim.turn].clone())
    }

    /// Reads the leader's address off an answer.
    pub(crate) fn learn(&self, metadata: &MetadataMap) {
        let Some(hint) = metadata.get("tollgate-leader").and_then(|hint| hint.to_str().ok()) else { return };
        if !self.follows {
            return;
        }
        let mut aim = self.aim.lock();
        let known = aim.leader.as_ref().is_some_and(|leader| *leader.address == *hint);
        if known || aim.shuns(hint) {
            return;
        }
        let given = self.given.iter().find(|node| *node.address == *hint).cloned();
        aim.leader = given.or_else(|| Node::new(hint).ok());
    }

    /// Turns to another node.
    pub(crate) fn failed(&self, node: &Node) {
        let mut aim = self.aim.lock();
        aim.shunned = Some((node.address.clone(), Instant::now() + SHUNNED_FOR));
        aim.leader.take_if(|leader| leader.address == node.address);
        // Many calls fail together when a node dies: only the first of them moves on.
        if self.given[aim.turn].address == node.address {
            aim.turn = (aim.turn + 1) % self.given.len();
        }
    }
}

impl Aim {
    fn shuns(&self, address: &str) -> bool {
        self.shunned.as_ref().is_some_and(|(shunned, until)| **shunned == *address && Instant::now() < *until)
    }
}

impl Node {
    fn new(given: &str) -> Result<Node, Error> {
        let wrong =
            || Error::invalid("nodes", format!("{given:?} is not an address: give host:port, without TLS"));
        let address = given.strip_prefix("http://").unwrap_or(given).trim_end_matches('/');
        let uri: Uri = format!("http://{address}").parse().map_err(|_| wrong())?;
        let is_whole = uri.authority().is_some_and(|authority| authority.as_str() == address);
        if uri.port_u16().is_none() || !is_whole || address.contains('@') {
            return Err(wrong());
        }
        let (every, patience) = KEEP_ALIVE;
        let endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW)
            // Answers that cross a cancellation are expected. By default h2 remembers 50 calls that were given up, and closes
            // the connection after a thousand answers to those that it has forgotten.
            .http2_max_concurrent_reset_streams(CALLS_MAX)
            .http2_max_local_error_reset_streams(None)
            .http2_keep_alive_interval(every)
            .keep_alive_timeout(patience);
        Ok(Node {
            address: address.into(),
            prompt: endpoint.connect_lazy(),
            waiting: endpoint.connect_lazy(),
        })
    }

    /// The connection for calls that the node answers at once, or for those that it may hold back.
    pub(crate) fn channel(&self, waits: bool) -> Channel {
        if waits { self.waiting.clone() } else { self.prompt.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(address: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("tollgate-leader", address.parse().unwrap());
        metadata
    }

    #[tokio::test]
    async fn the_leader_is_asked_until_it_fails() {
        let nodes = Nodes::new(["a:1", "http://b:2", "c:3/"]).unwrap();
        assert_eq!(&*nodes.pick().address, "a:1");
        nodes.learn(&hint("c:3"));
        let leader = nodes.pick();
        assert_eq!(&*leader.address, "c:3");

        nodes.failed(&leader);
        assert_eq!(&*nodes.pick().address, "a:1");
        nodes.learn(&hint("c:3"));
        assert_eq!(&*nodes.pick().address, "a:1", "a hint to the node that just failed is not believed");
        nodes.learn(&hint("learnt:4"));
        assert_eq!(&*nodes.pick().address, "learnt:4", "the leader need not be among the given nodes");
    }

    #[tokio::test]
    async fn without_a_leader_nodes_take_turns() {
        let nodes = Nodes::new(["a:1", "b:2"]).unwrap();
        for expected in ["a:1", "b:2", "a:1"] {
            let node = nodes.pick();
            assert_eq!(&*node.address, expected);
            nodes.failed(&node);
        }
    }

    #[tokio::test]
    async fn a_wrong_address_is_named() {
        for wrong in ["", "host", "host:", "host:port", "https://host:1", "host:1/path", "user@host:1/"] {
            let error = Nodes::new([wrong]).err().expect(wrong);
            assert!(matches!(error, Error::Invalid { ref violations, .. } if violations[0].field == "nodes"));
        }
        assert!(Nodes::new(Vec::<String>::new()).is_err());
    }
}
