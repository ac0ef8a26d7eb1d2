//! How the process of a node is started.

use std::{env, fs, io, process::Command};

use tollgate_server::raft::members::NodeId;

use super::{CLOCK_SEAT, Cluster};
use crate::torture::{
    network::Network,
    process::Process,
    seat::{FOUNDERS, Seat},
};

impl Cluster {
    /// Starts the process of a node, on what it keeps.
    pub fn launch(&mut self, id: NodeId) -> io::Result<()> {
        let seat = self.seat_of(id).clone();
        let log = fs::OpenOptions::new().create(true).append(true).open(seat.log_path())?;
        let mut command = self.command(id, &seat);
        let process = Process::start(command.stdout(log.try_clone()?).stderr(log))?;
        if let Network::Proxies(proxies) = &self.network {
            proxies.seat(seat.number, process.pid(), seat.peer.parse().map_err(io::Error::other)?);
        }
        self.nodes.entry(id).and_modify(|node| node.process = Some(process));
        Ok(())
    }

    fn command(&self, id: NodeId, seat: &Seat) -> Command {
        let mut command = match &self.network {
            Network::Proxies(_) => Command::new(&self.binary),
            Network::Namespaces(namespaces) => {
                // It becomes the node's process itself.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &namespaces.name(seat.number)]).arg(&self.binary);
                command
            }
        };
        let settings = env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        command.args(["server", "--cluster", "torture", "--snapshot-log", "1MiB", "--disk-reserve", "16MiB"]);
        command.args(["--node-id", &id.to_string()]).arg("--data-dir").arg(&seat.directory);
        command.args(["--listen-client", &seat.client, "--listen-peer", &seat.peer]);
        command.args(["--listen-http", &seat.http]);
        if self.nodes[&id].joined {
            command.arg("--join");
        } else {
            for (id, seat) in (1..).zip(&self.seats[..FOUNDERS]) {
                command.args(["--member", &seat.member(id)]);
            }
        }
        if let (CLOCK_SEAT, Ok(clock)) = (seat.number, &self.wall_clock) {
            clock.preload(&mut command);
        }
        command
    }
}
