//! A network namespace for each node, joined by a bridge. A direction is cut by a route that swallows packets, which needs
//! neither nft nor netem: in the sender's namespace, and so only on the way there.

use std::{
    io,
    net::Ipv4Addr,
    process::{self, Command, Stdio},
};

use super::super::{binary, seat::SEATS};

/// Joins the namespaces.
pub struct Namespaces {
    /// In the names of everything that is made here, so that two runs do not meet.
    tag: u32,
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
        let tag = process::id() % 100_000;
        let subnet = u8::try_from(tag % 250).expect("below 250");
        // Dropped if a step fails: what was made by then goes again.
        let namespaces = Namespaces { tag, subnet };
        let bridge = namespaces.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", namespaces.ip(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for seat in 0..SEATS {
            namespaces.add(seat)?;
        }
        Ok(namespaces)
    }

    fn add(&self, seat: usize) -> io::Result<()> {
        let (name, port) = (self.name(seat), format!("tg{}-{seat}", self.tag));
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["link", "set", &port, "master", &self.bridge(), "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{}/24", self.address(seat)), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    /// The namespace of a seat.
    pub fn name(&self, seat: usize) -> String {
        format!("tollgate-{}-{seat}", self.tag)
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
        // 198.18.0.0/15 is for tests between devices (RFC 2544).
        Ipv4Addr::new(198, 18, self.subnet, host)
    }

    fn bridge(&self) -> String {
        format!("tg{}", self.tag)
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

fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let failed = || io::Error::other(format!("ip {}: {}", args.join(" "), said.trim()));
    if output.status.success() { Ok(()) } else { Err(failed()) }
}

fn expect(changed: io::Result<()>) {
    changed.expect("routes can be changed where namespaces could be made");
}
