//! Clients, by the Rust client, some of them badly behaved: half of them aim at the leader, half of them know one node, and
//! half of either ask over a stream.

mod asker;
mod behaviour;

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet};

use super::{recorder::Recorder, way::Way};
pub use asker::{Asker, permit_id};

/// Clients at a time: more than slots, so that they are in each other's way.
pub const CLIENTS: u64 = 20;

/// What a call may take with all its tries: longer than an election.
const DEADLINE: Duration = Duration::from_secs(8);

/// All clients at work.
pub struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins. The nodes are by seat.
    pub fn start(nodes: &[String], recorder: &Arc<Recorder>, seed: u64) -> Load {
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        for id in 0..CLIENTS {
            let way = Way::of(id);
            let client = way.client(nodes).with_deadline(DEADLINE);
            let asker = Asker::new(client, way, recorder.clone(), id);
            let rng = StdRng::seed_from_u64(seed.wrapping_add(id));
            clients.spawn(behaviour::live(asker, rng, stopped.clone()));
        }
        Load { stop, clients }
    }

    /// Lets every client end what it is at, and waits for it.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.clients.join_all().await;
    }
}
