//! Which process of this machine serves an address, and how much of the processor it has used, as `/proc` tells. Where there
//! is none, or the process is another user's, nothing is reported.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

/// What `/proc` counts the processor's time in: the kernel's interface fixes it, whatever the machine's own tick.
const TICKS_PER_SECOND: u64 = 100;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// The one that listens at this address, if it is of this machine and may be looked into.
    pub fn listening_at(address: SocketAddr) -> Option<Process> {
        if !is_of_this_machine(address.ip()) {
            return None;
        }
        let socket = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
            let table = fs::read_to_string(table).ok()?;
            table.lines().find_map(|line| listening_socket(line, address.port())).map(str::to_owned)
        })?;
        let socket = format!("socket:[{socket}]");
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.map(Process).find(|process| process.has_open(&socket).unwrap_or(false))
    }

    /// The processor's time that it has used, all threads together, to 10 ms.
    pub fn cpu(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let ticks = used_ticks(&stat)?;
        Some(Duration::from_millis(ticks * (1_000 / TICKS_PER_SECOND)))
    }

    fn has_open(self, file: &str) -> io::Result<bool> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.0))?.flatten();
        Ok(files.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == Path::new(file)))
    }
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // Only addresses of this machine can be bound.
    ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// The inode of the socket, if this line is of one that listens at the port.
fn listening_socket(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && *fields.get(3)? == LISTENS;
    is_it.then_some(*fields.get(9)?)
}

/// In user and in kernel mode. The name before may contain anything, parentheses included.
fn used_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_kernel_are_read() {
        let line = "   1: 0100007F:1DB0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41521 1 0000 100 0 0 10 0";
        assert_eq!(listening_socket(line, 7600), Some("41521"));
        assert_eq!(listening_socket(line, 7601), None);
        assert_eq!(listening_socket(&line.replace(" 0A ", " 01 "), 7600), None);
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(used_ticks(stat), Some(300));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_listens_where_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Process::listening_at(listener.local_addr().unwrap()).unwrap();
        assert_eq!(this, Process(std::process::id()));
        assert!(this.cpu().is_some());
    }
}
