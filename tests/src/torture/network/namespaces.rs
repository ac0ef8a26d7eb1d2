//! A network namespace for each node, joined by a bridge. A direction is cut by a route that swallows packets, which needs
//! neither nft nor netem: in the sender's namespace, and so only on the way there.

use std::{
    collections::BTreeSet,
    io,
    net::Ipv4Addr,
    path::Path,
    process::{self, Command, Stdio},
};

use super::super::{binary, seat::SEATS};

/// How the names of all namespaces begin that are made here; then comes the number of the process that made them.
const PREFIX: &str = "tollgate-torture-";

/// How many runs can have a network of their own at the same time.
const SUBNETS: u32 = 250;

/// Joins the namespaces.
pub struct Namespaces {
    /// Whose they are: in the names of everything that is made here, so that two runs do not meet.
    process: u32,
    /// The third byte of all addresses.
    subnet: u8,
}

impl Namespaces {
    /// Four of them and a bridge, on which this process has an address, too.
    ///
    /// # Errors
    /// What the machine refuses: without root, the first step.
    pub(super) fn new() -> io::Result<Namespaces> {
        if binary::tool("ip").is_none() {
            return Err(io::Error::other("there is no `ip` (iproute2)"));
        }
        sweep();
        let process = process::id();
        let subnet = free_subnet(process)
            .ok_or_else(|| io::Error::other(format!("{SUBNETS} networks of 198.18.0.0/16 are in use")))?;
        // Dropped if a step fails: what was made by then goes again.
        let namespaces = Namespaces { process, subnet };
        let bridge = namespaces.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", namespaces.ip(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for seat in 0..SEATS {
            namespaces.add(seat)?;
        }
        // Some containers may make them, and start nothing in them.
        ip(&["netns", "exec", &namespaces.name(0), "true"])?;
        Ok(namespaces)
    }

    fn add(&self, seat: usize) -> io::Result<()> {
        let (name, port) = (self.name(seat), format!("{}-{seat}", self.bridge()));
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["link", "set", &port, "master", &self.bridge(), "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{}/24", self.address(seat)), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    /// The namespace of a seat.
    pub fn name(&self, seat: usize) -> String {
        format!("{PREFIX}{}-{seat}", self.process)
    }

    /// The address of a seat.
    pub fn address(&self, seat: usize) -> Ipv4Addr {
        self.ip(u8::try_from(seat + 1).expect("few seats"))
    }

    pub(super) fn cut(&self, from: usize, to: usize) {
        let to = format!("{}/32", self.address(to));
        // Replaces what is cut already.
        expect(ip(&["-n", &self.name(from), "route", "replace", "blackhole", &to]));
    }

    pub(super) fn heal(&self) {
        for seat in 0..SEATS {
            expect(ip(&["-n", &self.name(seat), "route", "flush", "type", "blackhole"]));
        }
    }

    fn ip(&self, host: u8) -> Ipv4Addr {
        address(self.subnet, host)
    }

    fn bridge(&self) -> String {
        // Names of links have 15 bytes at most.
        format!("tgt{}", self.process)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Whatever does not exist need not go.
        for seat in 0..SEATS {
            let _ = ip(&["netns", "del", &self.name(seat)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

/// Takes away what was left behind by processes that were killed, and so could not.
fn sweep() {
    let names = said_by_ip(&["netns", "list"]).unwrap_or_default();
    let left: BTreeSet<_> = names.lines().filter_map(maker).filter(|process| !is_alive(*process)).collect();
    left.into_iter().for_each(|process| drop(Namespaces { process, subnet: 0 }));
}

/// Who made the namespace in this line, such as `tollgate-torture-4711-0 (id: 3)`.
fn maker(line: &str) -> Option<u32> {
    line.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// A network in which this machine has no address, beginning with one that other processes are not likely to begin with.
fn free_subnet(process: u32) -> Option<u8> {
    let mut subnets = (0..SUBNETS).filter_map(|nth| u8::try_from(process.wrapping_add(nth) % SUBNETS).ok());
    let is_free = |subnet: &u8| {
        let network = format!("{}/24", address(*subnet, 0));
        said_by_ip(&["-4", "addr", "show", "to", &network]).is_ok_and(|said| said.trim().is_empty())
    };
    subnets.find(is_free)
}

fn address(subnet: u8, host: u8) -> Ipv4Addr {
    // 198.18.0.0/15 is for tests between devices (RFC 2544).
    Ipv4Addr::new(198, 18, subnet, host)
}

fn ip(args: &[&str]) -> io::Result<()> {
    said_by_ip(args).map(drop)
}

fn said_by_ip(args: &[&str]) -> io::Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(format!("ip {}: {}", args.join(" "), complaint.trim()))),
    }
}

fn expect(changed: io::Result<()>) {
    changed.expect("routes can be changed where namespaces could be made");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_swept() {
        assert_eq!(maker("tollgate-torture-4711-0 (id: 3)"), Some(4_711));
        assert_eq!(maker("tollgate-torture-4194304-3"), Some(4_194_304));
        for other in ["tollgate-4711-0", "tollgate-torture-x-0", "cni-1234", ""] {
            assert_eq!(maker(other), None, "{other}");
        }
        assert!(is_alive(process::id()));
    }
}
