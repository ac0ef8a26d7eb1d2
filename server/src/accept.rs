//! Who is let in, before anything is known of them.
//!
//! A connection costs memory and a file descriptor from its first byte on, and the HTTP/2 library waits for ever for the
//! greeting of a client. So a connection that does not greet in time ends; one address cannot take all places; and the
//! places are fewer than the file descriptors that this process may have, because the log needs some, too.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

/// How long a client may take for its greeting. Links over satellites need less than 1 s.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The preface, and the head of the SETTINGS that must follow it (RFC 9113, 3.4). From then on keep-alive watches.
const GREETING_BYTES: usize = PREFACE.len() + 9;

/// File descriptors that are kept for the log, snapshots, and the connections to other nodes.
const FILES_RESERVED: u64 = 512;

/// The pause after the system could not accept, as when it has no more file descriptors: trying again at once would only
/// burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections a port takes; more are closed as soon as they are made.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all.
    pub connections: usize,
    /// From one address. Load balancers and NATs stand for many clients, so it is only below the whole.
    pub per_address: usize,
}

impl Bounds {
    /// The same, and no more than this process has file descriptors for. Asks the system for as many as it may have.
    pub fn within_files(self) -> Bounds {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        let files = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(error) => {
                warn!(%error, "the limit of open files cannot be raised");
                limit.current
            }
        };
        let room = files.map_or(u64::MAX, |files| files.saturating_sub(FILES_RESERVED).max(files / 2));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Bounds { connections: self.connections.min(room), per_address: self.per_address.min(room) }
    }
}

/// The connections of a port, as they are made; never ends. `refused` counts those that found no place.
pub fn incoming(
    listener: TcpListener,
    bounds: Bounds,
    refused: Counter,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Places { bounds, taken: Mutex::default() });
    stream::unfold((listener, places, refused), |(listener, places, refused)| async move {
        loop {
            let (tcp, from) = accept(&listener).await;
            match places.take(from.ip()) {
                Some(place) => return Some((Ok(Connection::new(tcp, place)), (listener, places, refused))),
                None => {
                    refused.inc();
                    debug!(%from, "a connection is refused: there are too many");
                }
            }
        }
    })
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client was gone before it was accepted.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                warn!(%error, "connections cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The places of a port, and who has them.
struct Places {
    bounds: Bounds,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock();
        let here = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all >= self.bounds.connections || here >= self.bounds.per_address {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place { address, places: self.clone() })
    }
}

/// One place; free again when this is dropped.
struct Place {
    address: IpAddr,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// A connection that has a place. Reading from it fails when the greeting is late.
pub struct Connection {
    tcp: TcpStream,
    greeting: Option<Greeting>,
    _place: Place,
}

/// The greeting, as far as it has come.
struct Greeting {
    received: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(tcp: TcpStream, place: Place) -> Connection {
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY cannot be set");
        }
        let greeting = Greeting { received: 0, deadline: Box::pin(sleep(GREETING_MAX)) };
        Connection { tcp, greeting: Some(greeting), _place: place }
    }
}

impl Greeting {
    /// Whether these bytes end it: it is whole, or it is none of HTTP/2. What is wrong then, or late, is found by those who
    /// read it: HTTP/1 has a deadline of its own for a request's head.
    fn ends_with(&mut self, bytes: &[u8]) -> bool {
        let expected = PREFACE.get(self.received..).unwrap_or_default();
        let is_preface = bytes.iter().zip(expected).all(|(byte, expected)| byte == expected);
        self.received += bytes.len();
        !is_preface || self.received >= GREETING_BYTES
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.tcp).poll_read(context, buffer);
        let Some(greeting) = &mut this.greeting else { return read };
        if greeting.ends_with(&buffer.filled()[before..]) {
            this.greeting = None;
        } else if read.is_pending() {
            let late = || io::Error::new(ErrorKind::TimedOut, "the client did not greet in time");
            return greeting.deadline.as_mut().poll(context).map(|()| Err(late()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.tcp.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    async fn port(bounds: Bounds) -> (SocketAddr, Counter, impl Stream<Item = io::Result<Connection>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = Counter::default();
        (listener.local_addr().unwrap(), refused.clone(), incoming(listener, bounds, refused))
    }

    async fn pair() -> (TcpStream, Connection) {
        let (at, _, connections) = port(Bounds { connections: 1, per_address: 1 }).await;
        let client = TcpStream::connect(at).await.unwrap();
        (client, pin!(connections).next().await.unwrap().unwrap())
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_connection_ends() {
        let (at, refused, connections) = port(Bounds { connections: 9, per_address: 1 }).await;
        let mut connections = pin!(connections);
        let _first = TcpStream::connect(at).await.unwrap();
        let served = connections.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(at).await.unwrap();
        assert!(timeout(Duration::from_millis(50), connections.next()).await.is_err());
        assert_eq!((second.read(&mut [0]).await.unwrap_or_default(), refused.get()), (0, 1));
        drop(served);
        let _third = TcpStream::connect(at).await.unwrap();
        assert!(connections.next().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_does_not_greet_is_cut_off_and_who_greets_may_be_silent() {
        let greeting = [PREFACE, &[0; 9]].concat();
        for (said, is_cut_off) in
            [(&b""[..], true), (&greeting[..20], true), (&greeting, false), (b"GET /", false)]
        {
            let (mut client, mut connection) = pair().await;
            client.write_all(said).await.unwrap();
            let mut heard = vec![0; said.len()];
            connection.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, said);
            tokio::time::pause();
            let silent = timeout(LONG, connection.read(&mut [0])).await;
            tokio::time::resume();
            match silent {
                Ok(read) => {
                    assert!(is_cut_off && read.unwrap_err().kind() == ErrorKind::TimedOut, "{said:?}")
                }
                Err(_) => assert!(!is_cut_off, "{said:?}"),
            }
        }
    }

    #[test]
    fn files_bound_the_connections() {
        let most = Bounds { connections: usize::MAX, per_address: usize::MAX }.within_files();
        let files = getrlimit(Resource::Nofile).current;
        assert!(files.is_none_or(|files| most.connections < files as usize));
    }
}
