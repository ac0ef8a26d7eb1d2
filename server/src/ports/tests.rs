use std::{thread, time::Duration};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tonic::{Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

use super::*;

#[tokio::test]
async fn a_port_that_is_taken_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listen = Listen { client: free, peer: taken.local_addr().unwrap(), http: free };
    let error = Ports::bind(listen).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("listen.peer") && error.contains("--listen-peer"), "{error}");
    assert!(error.contains("stop the process that has this port"), "{error}");
}

/// A port that can be kept from reading, as a machine that stands still is; and what was said on one connection to it.
struct Stalled {
    client: HealthClient<Channel>,
    /// A call that is open all the while. It ends with the connection.
    open: Streaming<HealthCheckResponse>,
    stalls: mpsc::UnboundedSender<oneshot::Receiver<()>>,
}

impl Stalled {
    async fn start() -> Stalled {
        let (bound, address) = oneshot::channel();
        let (stalls, mut stalled) = mpsc::unbounded_channel::<oneshot::Receiver<()>>();
        thread::spawn(move || {
            let serving = async {
                let (_, health) = tonic_health::server::health_reporter();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let served =
                    serve(CLIENTS, listener, Routes::new(health), Counter::default(), std::future::pending());
                tokio::spawn(served);
                while let Some(until) = stalled.recv().await {
                    // The thread stands still, not only this task.
                    while until.is_empty() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            };
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serving);
        });
        let channel = transport::Endpoint::from_shared(format!("http://{}", address.await.unwrap())).unwrap();
        let mut client = HealthClient::new(channel.connect().await.unwrap());
        let mut open = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        open.message().await.unwrap();
        Stalled { client, open, stalls }
    }

    /// So many calls are sent while nothing is read.
    async fn send(&self, calls: usize) -> (JoinSet<bool>, oneshot::Sender<()>) {
        let (resume, until) = oneshot::channel();
        self.stalls.send(until).unwrap();
        let mut sent = JoinSet::new();
        for _ in 0..calls {
            let mut client = self.client.clone();
            sent.spawn(async move { client.check(HealthCheckRequest::default()).await.is_ok() });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        (sent, resume)
    }

    async fn has_lost_its_connection(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.open.message()).await.is_ok()
    }
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_is_no_flood() {
    let mut port = Stalled::start().await;
    let (calls, resume) = port.send(16_000).await;
    resume.send(()).unwrap();
    let answered = calls.join_all().await.into_iter().filter(|is_ok| *is_ok).count();
    assert_eq!((answered, port.has_lost_its_connection().await), (16_000, false));
}

#[tokio::test]
async fn calls_given_up_while_nobody_read_end_no_connection() {
    let mut port = Stalled::start().await;
    let (calls, resume) = port.send(4_000).await;
    drop(calls);
    tokio::time::sleep(Duration::from_millis(500)).await;
    resume.send(()).unwrap();
    let after = port.client.check(HealthCheckRequest::default()).await;
    assert!(after.is_ok() && !port.has_lost_its_connection().await, "{after:?}");
}
