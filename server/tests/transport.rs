//! Nodes that talk over loopback, with a scripted replica behind each door: what the network owes to the replica.

use std::{fs, future::Future, sync::Arc, time::Duration};

use raft::eraftpb::{Message, MessageType};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tollgate_limiter::Span;
use tollgate_server::{
    clock,
    node::Versions,
    raft::{
        call::{Call, ClusterView, MemberChange, Query, Refusal, Reply},
        door::{Door, Inside, PeerEvent, Status, door},
        members::{Incarnation, Member, Members, NodeId},
        peers::Peers,
        replies::Answered,
        transport::{Transport, handshake::Expelled},
    },
    router::Forward,
    storage::data_dir::Identity,
};
use tonic::transport::{Server, server::TcpIncoming};

/// Generous: the machine may be slow, and only what never comes should fail.
const PATIENCE: Duration = Duration::from_secs(20);

const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);

struct Node {
    id: NodeId,
    address: String,
    door: Door,
    inside: Inside,
    transport: Arc<Transport>,
    versions: Versions,
    expelled: mpsc::Receiver<Expelled>,
    stop: CancellationToken,
    _server: AbortOnDropHandle<()>,
}

impl Node {
    async fn start(cluster: &str, id: NodeId, incarnation: Incarnation) -> Node {
        Node::start_as(cluster, id, incarnation, |address| address).await
    }

    /// One that calls its address so.
    async fn start_as(
        cluster: &str,
        id: NodeId,
        incarnation: Incarnation,
        called: impl FnOnce(String) -> String,
    ) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let own = called(address.clone());
        let (door, inside) = door();
        let (expel, expelled) = mpsc::channel(1);
        let identity = Identity { cluster: cluster.to_owned(), node: id, incarnation };
        let versions = Versions::default();
        let (transport, service) =
            Transport::start(identity, &own, ELECTION_TIMEOUT, door.clone(), versions.clone(), expel);
        let stop = CancellationToken::new();
        let serving = Server::builder().add_service(service).serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
        let server = AbortOnDropHandle::new(tokio::spawn(async { serving.await.expect("a port to serve") }));
        Node { id, address, door, inside, transport, versions, expelled, stop, _server: server }
    }

    fn member(&self, incarnation: Option<Incarnation>) -> Member {
        Member {
            id: self.id,
            peer_address: self.address.clone(),
            client_address: String::new(),
            http_address: String::new(),
            incarnation,
        }
    }

    fn knows(&self, members: impl IntoIterator<Item = Member>) {
        let by_id = members.into_iter().map(|member| (member.id, member)).collect();
        self.transport.update(self.id, Arc::new(Members { by_id, ..Members::default() }));
    }

    async fn next_event(&mut self) -> PeerEvent {
        in_time(self.inside.peer_events.recv()).await.expect("the door is open")
    }

    /// What bounds the age of the next beat; failures to connect before it do not matter.
    async fn next_beat_since(&mut self) -> Option<Span> {
        loop {
            if let PeerEvent::Beat { since, .. } = self.next_event().await {
                return since;
            }
        }
    }

    /// The next message; failures to connect before it do not matter.
    async fn next_message(&mut self) -> Message {
        loop {
            if let PeerEvent::Message(message) = self.next_event().await {
                return *message;
            }
        }
    }

    fn heartbeat(&self, to: NodeId) -> Message {
        Message { msg_type: MessageType::MsgHeartbeat, from: self.id, to, term: 3, ..Message::default() }
    }

    fn leads(&self) {
        self.inside.status.send_modify(|status| status.leader = Some(self.id));
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Two nodes of a cluster that know each other.
async fn pair() -> (Node, Node) {
    let (one, two) = (Node::start("test", 1, 11).await, Node::start("test", 2, 22).await);
    for node in [&one, &two] {
        node.knows([one.member(Some(11)), two.member(Some(22))]);
    }
    connected(&one, &two).await;
    connected(&two, &one).await;
    (one, two)
}

/// Waits until calls can be handed from one to the other.
async fn connected(from: &Node, to: &Node) {
    in_time(async {
        // Without a connection the refusal is there at once; with one, this waits for a reply that nobody gives.
        while timeout(Duration::from_millis(10), forward(from, to.id, query())).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn query() -> Call {
    Call::Query(Query::Cluster)
}

/// Hands one call over.
fn forward(from: &Node, to: NodeId, call: Call) -> impl Future<Output = Answered> + use<> {
    from.transport.forward(to, vec![call]).only()
}

#[tokio::test]
async fn messages_and_beats_reach_the_other_node() {
    let (one, mut two) = pair().await;
    one.transport.send(one.heartbeat(2));
    let message = two.next_message().await;
    assert_eq!((message.from, message.to, message.term), (1, 2, 3));
    one.transport.beat(7, 0xfeed, true);
    let event = two.next_event().await;
    let PeerEvent::Beat { from, wall, digest_index, digest, disk_is_low, .. } = event else {
        panic!("no beat: {event:?}")
    };
    assert_eq!((from, digest_index, digest, disk_is_low), (1, 7, 0xfeed, true));
    assert!(wall.0 > 0);
    assert_eq!(two.versions.of(1), one.versions.of(1));
}

#[tokio::test]
async fn beats_repeat_what_was_heard_last() {
    let (mut one, mut two) = pair().await;
    one.transport.beat(7, 0xfeed, false);
    assert_eq!(two.next_beat_since().await, None);
    let before = clock::monotonic();
    two.transport.beat(7, 0xfeed, false);
    one.next_beat_since().await;
    let heard = clock::monotonic();
    one.transport.beat(7, 0xfeed, false);
    let since = two.next_beat_since().await.expect("it was heard");
    assert!(before <= since && since <= heard);
}

#[tokio::test]
async fn a_message_in_the_name_of_another_is_dropped() {
    let (one, mut two) = pair().await;
    one.transport.send(Message { from: 3, ..one.heartbeat(2) });
    one.transport.send(Message { msg_type: MessageType::MsgPropose, ..one.heartbeat(2) });
    one.transport.send(Message { term: 4, ..one.heartbeat(2) });
    assert_eq!(two.next_message().await.term, 4);
}

#[tokio::test]
async fn calls_are_answered_by_the_other_node() {
    let (one, mut two) = pair().await;
    let answer = tokio::spawn(async move {
        while let Some(ticket) = two.inside.calls.recv().await {
            let view = ClusterView { term: 9, ..ClusterView::default() };
            let answer = match ticket.call {
                Call::Query(Query::Cluster) => Ok(Reply::Cluster(Box::new(view))),
                _ => Err(Refusal::StorageFull),
            };
            // Those of `connected` do not wait any more.
            let _ = ticket.reply.send(answer);
        }
    });
    let calls = (0..100).map(|_| forward(&one, 2, query()));
    for call in calls.collect::<Vec<_>>() {
        let Ok(Reply::Cluster(view)) = in_time(call).await else { panic!("no view") };
        assert_eq!(view.term, 9);
    }
    let refused = in_time(forward(&one, 2, Call::RemoveMember(3))).await;
    assert_eq!(refused, Err(Refusal::StorageFull));
    // In the name of a client nobody may say what a data directory was born with.
    let forged = Call::RegisterIncarnation { id: 1, incarnation: 0 };
    let refused = in_time(forward(&one, 2, forged)).await;
    assert_eq!(refused, Err(Refusal::NotLeader { leader: None }));
    answer.abort();
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_at_the_other_node() {
    let (one, mut two) = pair().await;
    let call = forward(&one, 2, Call::RemoveMember(3));
    let ticket = in_time(async {
        loop {
            let ticket = two.inside.calls.recv().await.unwrap();
            if ticket.call == Call::RemoveMember(3) {
                return ticket;
            }
        }
    })
    .await;
    assert!(!ticket.reply.is_closed());
    drop(call);
    in_time(async {
        while !ticket.reply.is_closed() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn open_calls_are_lost_with_the_connection_and_with_the_leader() {
    let (one, two) = pair().await;
    one.inside.status.send_modify(|status| status.leader = Some(2));
    let deposed = forward(&one, 2, query());
    sleep(Duration::from_millis(50)).await;
    one.inside.status.send_modify(|status| status.leader = None);
    assert_eq!(in_time(deposed).await, Err(Refusal::OutcomeUnknown));

    let lost = forward(&one, 2, query());
    two.stop.cancel();
    two.transport.close();
    assert_eq!(in_time(lost).await, Err(Refusal::OutcomeUnknown));
    in_time(async {
        while forward(&one, 2, query()).await != Err(Refusal::NotLeader { leader: None }) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_peer_is_reported() {
    let mut one = Node::start("test", 1, 11).await;
    let nobody = Node::start("test", 2, 22).await.member(None);
    one.knows([one.member(None), nobody]);
    assert!(matches!(one.next_event().await, PeerEvent::Unreachable(2)));
}

#[tokio::test]
async fn a_node_that_knows_nobody_yet_answers_who_calls_it() {
    let one = Node::start("test", 1, 11).await;
    let mut joining = Node::start("test", 4, 44).await;
    let mut one = one;
    one.knows([one.member(Some(11)), joining.member(None)]);
    connected(&one, &joining).await;
    one.transport.send(one.heartbeat(4));
    joining.next_message().await;
    connected(&joining, &one).await;
    joining.transport.send(joining.heartbeat(1));
    assert_eq!(one.next_message().await.from, 4);
}

#[tokio::test]
async fn whoever_is_called_back_is_found_where_the_cluster_knows_it() {
    // It joined: all it knows of its own address is where it listens, which may mean nothing to others (0.0.0.0).
    let mut joined = Node::start_as("test", 1, 11, |_| "127.0.0.1:1".into()).await;
    let newcomer = Node::start("test", 4, 44).await;
    joined.knows([joined.member(None), newcomer.member(None)]);
    connected(&joined, &newcomer).await;
    connected(&newcomer, &joined).await;
    newcomer.transport.send(newcomer.heartbeat(1));
    assert_eq!(joined.next_message().await.from, 4);
}

#[tokio::test]
async fn the_leader_records_the_data_directories_it_meets() {
    let (mut one, two) = (Node::start("test", 1, 11).await, Node::start("test", 2, 22).await);
    one.leads();
    one.knows([one.member(None), two.member(None)]);
    let mut recorded = Vec::new();
    while !(recorded.contains(&(1, 11)) && recorded.contains(&(2, 22))) {
        let ticket = in_time(one.inside.calls.recv()).await.unwrap();
        if let Call::RegisterIncarnation { id, incarnation } = ticket.call {
            recorded.push((id, incarnation));
        }
        let undelivered = ticket.reply.send(Ok(Reply::Changed(Ok(MemberChange::Registered))));
        assert_eq!(undelivered, None);
    }
}

#[tokio::test]
async fn a_wiped_node_is_told_whoever_calls_whom() {
    let one = Node::start("test", 1, 11).await;
    let mut wiped = Node::start("test", 2, 23).await;
    one.knows([one.member(Some(11)), wiped.member(Some(22))]);
    // Called, it learns it from its caller.
    assert_eq!(in_time(wiped.expelled.recv()).await, Some(Expelled::Wiped(2)));

    let mut wiped = Node::start("test", 2, 24).await;
    wiped.knows([one.member(None), wiped.member(None)]);
    // Calling, it learns it from the refusal.
    assert_eq!(in_time(wiped.expelled.recv()).await, Some(Expelled::Wiped(2)));
}

#[tokio::test]
async fn a_removed_node_is_told() {
    let (one, mut two) = pair().await;
    let members = Members { by_id: [(1, one.member(Some(11)))].into(), removed: [2].into() };
    one.transport.update(1, Arc::new(members));
    // Its stream is still open; what it says next ends it.
    in_time(async {
        while two.expelled.is_empty() {
            two.transport.send(two.heartbeat(1));
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(two.expelled.recv().await, Some(Expelled::Removed(2)));
}

#[tokio::test]
async fn a_node_among_foreigners_stops_and_they_do_not() {
    let mut ours = [Node::start("ours", 1, 11).await, Node::start("ours", 2, 22).await];
    let mut stranger = Node::start("theirs", 3, 33).await;
    let all = [ours[0].member(None), ours[1].member(None), stranger.member(None)];
    for node in ours.iter().chain([&stranger]) {
        node.knows(all.clone());
    }
    let expelled = in_time(stranger.expelled.recv()).await;
    assert_eq!(expelled, Some(Expelled::Foreign { cluster: "theirs".to_owned() }));
    connected(&ours[0], &ours[1]).await;
    assert!(ours.iter_mut().all(|node| node.expelled.try_recv().is_err()));
}

#[tokio::test]
async fn a_snapshot_arrives_whole_and_is_reported() {
    let (mut one, mut two) = pair().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(&path, &data).unwrap();
    let message = Message { msg_type: MessageType::MsgSnapshot, ..one.heartbeat(2) };

    one.transport.send_snapshot(message.clone(), path);
    let received = two.next_message().await;
    assert_eq!(received.msg_type, MessageType::MsgSnapshot);
    assert_eq!(received.get_snapshot().data, data);
    assert!(matches!(one.next_event().await, PeerEvent::SnapshotSent { to: 2, delivered: true }));

    one.transport.send_snapshot(message, directory.path().join("absent"));
    assert!(matches!(one.next_event().await, PeerEvent::SnapshotSent { to: 2, delivered: false }));
}

#[tokio::test]
async fn the_door_of_a_node_without_a_driver_says_so() {
    let Node { door, inside, .. } = Node::start("test", 1, 11).await;
    assert_eq!(*door.status().borrow(), Status::default());
    drop(inside);
    assert_eq!(door.call(query()).await, Err(Refusal::ShuttingDown));
}
