//! Which process is at the other end of a connection on loopback. All nodes call from the same address, so only the system's
//! own tables tell them apart.

use std::{fs, net::SocketAddr};

/// The one among these processes that called from `from` to `to`, both IPv4; none if it is gone by now.
pub fn of(from: SocketAddr, to: SocketAddr, processes: impl IntoIterator<Item = u32>) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| inode_between(line, from.port(), to.port()))?;
    let socket = format!("socket:[{inode}]");
    processes.into_iter().find(|process| has_open(*process, &socket))
}

/// The inode of the socket in this line, if it connects these ports. The fields are: number, local address, remote
/// address, state, queues, timer, retransmits, user, timeout, inode.
fn inode_between(line: &str, local: u16, remote: u16) -> Option<&str> {
    let mut fields = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
    let is_it = port()? == local && port()? == remote;
    fields.nth(6).filter(|_| is_it)
}

fn has_open(process: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process,
    };

    use super::*;

    #[test]
    fn a_connection_is_traced_to_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let connection = TcpStream::connect(to).unwrap();
        let from = connection.local_addr().unwrap();
        assert_eq!(of(from, to, [1, process::id()]), Some(process::id()));
        assert_eq!(of(from, to, []), None);
    }
}
