//! Proxies before the nodes' ports for each other. Each passes bytes on, both ways; by who calls and who is called it knows
//! which link they travel on, and what is wrong with that.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::origin;
use crate::torture::seat::SEATS;

/// Bytes that are on their way at a time in one direction.
const CHUNK_BYTES: usize = 64 << 10;

/// What is wrong with a direction between two seats.
#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    cut: bool,
    delay: Duration,
    /// Connections that are older than the last reset end.
    resets: u64,
}

/// All of them.
pub struct Proxies {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

struct Shared {
    /// By the seat that sends, then the one that receives.
    links: Vec<Vec<watch::Sender<Quality>>>,
    /// Where the node of each seat listens.
    targets: Mutex<Vec<Option<SocketAddr>>>,
    /// Which process sits where.
    seated: Mutex<BTreeMap<u32, usize>>,
}

impl Proxies {
    /// One for each seat; they find out where to pass on to, and who calls, when nodes are [seated](Proxies::seat).
    pub(super) async fn new() -> io::Result<Proxies> {
        let links = (0..SEATS).map(|_| (0..SEATS).map(|_| watch::Sender::default()).collect()).collect();
        let targets = Mutex::new(vec![None; SEATS]);
        let shared = Arc::new(Shared { links, targets, seated: Mutex::default() });
        let mut addresses = Vec::new();
        let mut tasks = Vec::new();
        for seat in 0..SEATS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            tasks.push(AbortOnDropHandle::new(tokio::spawn(serve(listener, seat, shared.clone()))));
        }
        Ok(Proxies { shared, addresses, _tasks: tasks })
    }

    /// Where the other nodes are to call the one of this seat.
    pub fn address(&self, seat: usize) -> SocketAddr {
        self.addresses[seat]
    }

    /// A process sits here from now on, and listens there.
    pub fn seat(&self, seat: usize, process: u32, target: SocketAddr) {
        self.shared.targets.lock()[seat] = Some(target);
        let mut seated = self.shared.seated.lock();
        seated.retain(|_, other| *other != seat);
        seated.insert(process, seat);
    }

    pub(super) fn cut(&self, from: usize, to: usize) {
        self.shared.links[from][to].send_modify(|link| link.cut = true);
    }

    pub(super) fn delay(&self, from: usize, delay: Duration) {
        self.shared.links[from].iter().for_each(|link| link.send_modify(|link| link.delay = delay));
    }

    pub(super) fn reset(&self) {
        self.all(|link| link.resets += 1);
    }

    pub(super) fn heal(&self) {
        self.all(|link| (link.cut, link.delay) = (false, Duration::ZERO));
    }

    fn all(&self, change: impl Fn(&mut Quality)) {
        self.shared.links.iter().flatten().for_each(|link| link.send_modify(&change));
    }
}

async fn serve(listener: TcpListener, called: usize, shared: Arc<Shared>) {
    // An error is of the connection that came, or passes.
    loop {
        if let Ok((connection, from)) = listener.accept().await {
            tokio::spawn(pass_on(connection, from, called, shared.clone()));
        }
    }
}

/// Serves one connection. Whoever cannot be served is hung up on, as by a node that is not there.
async fn pass_on(caller: TcpStream, from: SocketAddr, called: usize, shared: Arc<Shared>) {
    let target = shared.targets.lock()[called];
    let (Some(target), Ok(to)) = (target, caller.local_addr()) else { return };
    let seated = shared.seated.lock().clone();
    let Some(process) = origin::of(from, to, seated.keys().copied()) else { return };
    let calling = seated[&process];
    let Ok(callee) = TcpStream::connect(target).await else { return };
    // Heartbeats are small, and what waits for more is late.
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    let (from_caller, to_caller) = caller.into_split();
    let (from_callee, to_callee) = callee.into_split();
    let there = shared.links[calling][called].subscribe();
    let back = shared.links[called][calling].subscribe();
    // When one direction ends, both halves of both are dropped: the connection is closed.
    tokio::select! {
        () = pump(from_caller, to_callee, there) => {}
        () = pump(from_callee, to_caller, back) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Quality>) {
    let born_after = link.borrow().resets;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut has_reset = link.clone();
    let pumping = async {
        while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
            let delay = link.borrow().delay;
            sleep_until(Instant::now() + delay).await;
            let whole = link.wait_for(|link| !link.cut).await.is_ok();
            if !whole || to.write_all(&chunk[..bytes]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pumping => {}
        _ = has_reset.wait_for(|link| link.resets > born_after) => {}
    }
}
