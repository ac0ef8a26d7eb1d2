//! What lies between the nodes, and how it fails.
//!
//! Two kinds. Proxies work on every machine: each node is told to call the others at addresses where a small proxy listens,
//! which passes on what they say, later, or not at all. Namespaces need root: each node has an address of its own, and
//! packets are dropped on their way. Only the first can delay and reset; only the second loses packets, so that it is TCP
//! itself that notices or does not.

mod namespaces;
mod origin;
mod proxy;

use std::{io, time::Duration};

use super::seat::SEATS;
pub use namespaces::Namespaces;
pub use proxy::Proxies;

/// Which network a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A proxy before each node.
    Proxies,
    /// A namespace for each node.
    Namespaces,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Proxies, Kind::Namespaces];

    /// As reports say it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Proxies => "proxies",
            Kind::Namespaces => "network namespaces",
        }
    }
}

/// The network of a cluster.
pub enum Network {
    /// A proxy before each node.
    Proxies(Proxies),
    /// A namespace for each node.
    Namespaces(Namespaces),
}

impl Network {
    /// A whole one.
    ///
    /// # Errors
    /// What this machine cannot do.
    pub async fn new(kind: Kind) -> io::Result<Network> {
        Ok(match kind {
            Kind::Proxies => Network::Proxies(Proxies::new().await?),
            Kind::Namespaces => Network::Namespaces(Namespaces::new()?),
        })
    }

    /// From now on, nothing that the one seat sends reaches the other.
    pub fn cut(&self, from: usize, to: usize) {
        match self {
            Network::Proxies(proxies) => proxies.cut(from, to),
            Network::Namespaces(namespaces) => namespaces.cut(from, to),
        }
    }

    /// Cuts both ways between a seat and all others.
    pub fn isolate(&self, seat: usize) {
        for other in (0..SEATS).filter(|other| *other != seat) {
            self.cut(seat, other);
            self.cut(other, seat);
        }
    }

    /// Everything that a seat sends is late by so much.
    ///
    /// # Errors
    /// That this network cannot.
    pub fn delay(&self, from: usize, delay: Duration) -> Result<(), String> {
        self.proxies()?.delay(from, delay);
        Ok(())
    }

    /// Resets all connections between the nodes.
    ///
    /// # Errors
    /// That this network cannot.
    pub fn reset(&self) -> Result<(), String> {
        self.proxies()?.reset();
        Ok(())
    }

    /// Nothing is lost or late any more.
    pub fn heal(&self) {
        match self {
            Network::Proxies(proxies) => proxies.heal(),
            Network::Namespaces(namespaces) => namespaces.heal(),
        }
    }

    fn proxies(&self) -> Result<&Proxies, String> {
        match self {
            Network::Proxies(proxies) => Ok(proxies),
            Network::Namespaces(_) => Err("network namespaces only lose packets: no netem here".to_owned()),
        }
    }
}
