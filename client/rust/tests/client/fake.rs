//! A node that answers as it is told, and remembers what it was asked.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Notify, mpsc},
    task::AbortHandle,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tollgate_client::{Client, v1::*};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::Connected},
};
use tonic_types::{ErrorDetails, StatusExt};

use acquire_permit_response::Decision;
use cluster_service_server::{ClusterService, ClusterServiceServer};
use permit_service_server::{PermitService, PermitServiceServer};

/// One fake node; its service ends with it.
pub struct Node {
    pub address: String,
    /// To a node without an address.
    channel: Option<Channel>,
    behaviour: Behaviour,
    task: AbortHandle,
}

/// What a node does, and what it was asked.
#[derive(Clone)]
pub struct Behaviour(Arc<Mutex<Script>>);

type Answers<Q, A> = Box<dyn FnMut(&Q, usize) -> Result<A, Status> + Send>;

pub struct Script {
    pub acquires: Vec<AcquirePermitRequest>,
    pub renewals: Vec<RenewPermitRequest>,
    pub releases: Vec<ReleasePermitRequest>,
    pub reports: Vec<ReportFeedbackRequest>,
    pub additions: Vec<AddMemberRequest>,
    pub leader: Option<String>,
    /// Requests that may wait are held, until they are let go; those that are.
    pub holds: bool,
    /// By resource.
    gates: BTreeMap<String, Arc<Notify>>,
    /// Resources for which nothing is held any more.
    open: Vec<&'static str>,
    pub held: usize,
    pub streams: usize,
    /// A grant crosses the client's message that it gives up.
    pub grants_when_cancelled: bool,
    on_acquire: Answers<AcquirePermitRequest, AcquirePermitResponse>,
    on_renew: Answers<RenewPermitRequest, RenewPermitResponse>,
    on_release: Answers<ReleasePermitRequest, ReleasePermitResponse>,
    on_add: Answers<AddMemberRequest, AddMemberResponse>,
}

impl Node {
    /// A node that grants a permit without slots to everybody.
    pub async fn start() -> Node {
        Node::with_streams(None).await
    }

    /// One that takes only so many calls at once from a connection.
    pub async fn with_streams(max: impl Into<Option<u32>>) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (behaviour, task) = Node::serve(TcpListenerStream::new(listener), max.into());
        Node { address, channel: None, behaviour, task }
    }

    /// A node behind a pipe in memory. Nothing waits for a network then, so that time can be paused.
    pub async fn in_memory() -> Node {
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut near = Some(TokioIo::new(near));
        let connector = tower::service_fn(move |_| {
            let near = near.take().ok_or(std::io::ErrorKind::ConnectionRefused);
            async move { near.map_err(std::io::Error::from) }
        });
        let channel = Endpoint::from_static("http://memory").connect_with_connector_lazy(connector);
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far)).chain(tokio_stream::pending());
        let (behaviour, task) = Node::serve(incoming, None);
        Node { address: String::new(), channel: Some(channel), behaviour, task }
    }

    fn serve<I>(
        incoming: impl Stream<Item = Result<I, std::io::Error>> + Send + 'static,
        streams_max: Option<u32>,
    ) -> (Behaviour, AbortHandle)
    where
        I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let behaviour = Behaviour(Arc::new(Mutex::new(Script::default())));
        let serving = Server::builder()
            .initial_connection_window_size(8 << 20)
            .http2_max_pending_accept_reset_streams(Some(10_000))
            .max_concurrent_streams(streams_max)
            .add_service(PermitServiceServer::new(behaviour.clone()))
            .add_service(ClusterServiceServer::new(behaviour.clone()))
            .serve_with_incoming(incoming);
        (behaviour, tokio::spawn(serving).abort_handle())
    }

    pub fn client(&self) -> Client {
        match &self.channel {
            Some(channel) => Client::over(channel.clone()),
            None => Client::connect([&self.address]).unwrap(),
        }
    }

    pub fn script(&self) -> parking_lot::MutexGuard<'_, Script> {
        self.behaviour.0.lock()
    }

    /// The answer to the n-th acquire, from 1 on.
    pub fn on_acquire(
        &self,
        answer: impl FnMut(&AcquirePermitRequest, usize) -> Result<AcquirePermitResponse, Status> + Send + 'static,
    ) {
        self.script().on_acquire = Box::new(answer);
    }

    pub fn on_renew(
        &self,
        answer: impl FnMut(&RenewPermitRequest, usize) -> Result<RenewPermitResponse, Status> + Send + 'static,
    ) {
        self.script().on_renew = Box::new(answer);
    }

    pub fn on_release(
        &self,
        answer: impl FnMut(&ReleasePermitRequest, usize) -> Result<ReleasePermitResponse, Status> + Send + 'static,
    ) {
        self.script().on_release = Box::new(answer);
    }

    pub fn on_add(
        &self,
        answer: impl FnMut(&AddMemberRequest, usize) -> Result<AddMemberResponse, Status> + Send + 'static,
    ) {
        self.script().on_add = Box::new(answer);
    }
}

/// A place in the queue, which ends with the call.
struct Place(Behaviour);

impl Place {
    fn taken(behaviour: Behaviour) -> Place {
        behaviour.0.lock().held += 1;
        Place(behaviour)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.lock().held -= 1;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Waits until something is so; the patience is for machines with much else to do.
pub async fn eventually(mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

/// What a server says with one of the API's reasons.
pub fn refusal(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tollgate", std::collections::HashMap::new());
    Status::with_error_details(code, reason.to_lowercase(), details)
}

pub fn overloaded(retry_after: Duration) -> Status {
    let mut details =
        ErrorDetails::with_error_info("OVERLOADED", "tollgate", std::collections::HashMap::new());
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, "overloaded", details)
}

pub fn queue_full(retry_after: Duration) -> Status {
    let mut details =
        ErrorDetails::with_error_info("QUEUE_FULL", "tollgate", std::collections::HashMap::new());
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, "queue_full", details)
}

pub fn granted(permit: GrantedPermit) -> Result<AcquirePermitResponse, Status> {
    Ok(AcquirePermitResponse { decision: Some(Decision::Granted(permit)) })
}

/// A permit without slots.
pub fn plain(id: &str) -> GrantedPermit {
    GrantedPermit { permit_id: id.to_owned(), ..Default::default() }
}

/// A permit whose call can never be dispatched in time.
pub fn late(id: &str) -> GrantedPermit {
    GrantedPermit { use_within: Some(wire(Duration::ZERO)), ..plain(id) }
}

/// A permit that holds a slot.
pub fn slot(id: &str, lease: Duration) -> GrantedPermit {
    let slot = Slot { limit: "concurrent".to_owned(), index: 3, generation: 7 };
    GrantedPermit { lease: Some(wire(lease)), slots: vec![slot], ..plain(id) }
}

pub fn denied(retry_after: Duration) -> Result<AcquirePermitResponse, Status> {
    let exhausted = ExhaustedLimit {
        limit: "daily".to_owned(),
        amount: 10,
        requested: 1,
        retry_after: Some(wire(retry_after)),
        ..Default::default()
    };
    let denied = DeniedPermit {
        reason: DenialReason::LimitExhausted.into(),
        limit: "daily".to_owned(),
        exhausted: vec![exhausted],
        retry_after: Some(wire(retry_after)),
        ..Default::default()
    };
    Ok(AcquirePermitResponse { decision: Some(Decision::Denied(denied)) })
}

/// What is understood of an answer for which the fleet is held back.
pub fn limited(wait: Duration) -> ReportFeedbackResponse {
    ReportFeedbackResponse { limited: true, wait: Some(wire(wait)), ..Default::default() }
}

pub fn wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap()
}

impl Default for Script {
    fn default() -> Script {
        Script {
            acquires: Vec::new(),
            renewals: Vec::new(),
            releases: Vec::new(),
            reports: Vec::new(),
            additions: Vec::new(),
            leader: None,
            holds: false,
            gates: BTreeMap::new(),
            open: Vec::new(),
            held: 0,
            streams: 0,
            grants_when_cancelled: false,
            on_acquire: Box::new(|_, n| granted(plain(&format!("p0-{n:x}")))),
            on_renew: Box::new(|request, _| Ok(RenewPermitResponse { lease: request.lease })),
            on_release: Box::new(|_, _| {
                Ok(ReleasePermitResponse {
                    held_for: Some(wire(Duration::from_secs(1))),
                    ..Default::default()
                })
            }),
            on_add: Box::new(|request, _| {
                let member = Member { id: request.id, ..Default::default() };
                Ok(AddMemberResponse { member: Some(member) })
            }),
        }
    }
}

impl Script {
    /// Decides what is held, and holds no more.
    pub fn let_go(&mut self) {
        self.holds = false;
        self.gates.values().for_each(|gate| gate.notify_waiters());
    }

    /// The same for one resource.
    pub fn let_go_of(&mut self, resource: &'static str) {
        self.open.push(resource);
        self.gate(resource).notify_waiters();
    }

    /// Holds again what was let go.
    pub fn hold_again(&mut self) {
        self.open.clear();
    }

    fn gate(&mut self, resource: &str) -> Arc<Notify> {
        self.gates.entry(resource.to_owned()).or_default().clone()
    }

    fn acquire(&mut self, request: AcquirePermitRequest) -> Result<AcquirePermitResponse, Status> {
        self.acquires.push(request.clone());
        (self.on_acquire)(&request, self.acquires.len())
    }

    fn answer<T>(&self, result: Result<T, Status>) -> Result<Response<T>, Status> {
        let mut response = Response::new(result?);
        if let Some(leader) = &self.leader {
            response.metadata_mut().insert("tollgate-leader", leader.parse().unwrap());
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl PermitService for Behaviour {
    type StreamPermitsStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<StreamPermitsResponse, Status>> + Send>>;

    async fn acquire_permit(
        &self,
        request: Request<AcquirePermitRequest>,
    ) -> Result<Response<AcquirePermitResponse>, Status> {
        let request = request.into_inner();
        let gate = {
            let mut script = self.0.lock();
            let is_open = script.open.contains(&request.resource.as_str());
            (script.holds && !is_open && request.max_wait.is_some()).then(|| {
                script.acquires.push(request.clone());
                script.gate(&request.resource)
            })
        };
        if let Some(gate) = gate {
            let _place = Place::taken(self.clone());
            gate.notified().await;
            let mut script = self.0.lock();
            let n = script.acquires.len();
            let result = (script.on_acquire)(&request, n);
            return script.answer(result);
        }
        let mut script = self.0.lock();
        let result = script.acquire(request);
        script.answer(result)
    }

    async fn acquire_permits(
        &self,
        request: Request<AcquirePermitsRequest>,
    ) -> Result<Response<AcquirePermitsResponse>, Status> {
        use acquire_permit_result::Result as Decided;
        let mut script = self.0.lock();
        let results = request
            .into_inner()
            .requests
            .into_iter()
            .map(|request| match script.acquire(request) {
                Ok(response) => Decided::Response(response),
                Err(status) => Decided::Error(CallError {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    field: "cost".to_owned(),
                    ..Default::default()
                }),
            })
            .map(|result| AcquirePermitResult { result: Some(result) })
            .collect();
        script.answer(Ok(AcquirePermitsResponse { results }))
    }

    async fn renew_permit(
        &self,
        request: Request<RenewPermitRequest>,
    ) -> Result<Response<RenewPermitResponse>, Status> {
        let mut script = self.0.lock();
        let request = request.into_inner();
        script.renewals.push(request.clone());
        let n = script.renewals.len();
        let result = (script.on_renew)(&request, n);
        script.answer(result)
    }

    async fn release_permit(
        &self,
        request: Request<ReleasePermitRequest>,
    ) -> Result<Response<ReleasePermitResponse>, Status> {
        let mut script = self.0.lock();
        let request = request.into_inner();
        script.releases.push(request.clone());
        let n = script.releases.len();
        let result = (script.on_release)(&request, n);
        script.answer(result)
    }

    async fn report_feedback(
        &self,
        request: Request<ReportFeedbackRequest>,
    ) -> Result<Response<ReportFeedbackResponse>, Status> {
        let mut script = self.0.lock();
        script.reports.push(request.into_inner());
        script.answer(Ok(limited(Duration::from_secs(60))))
    }

    async fn invalidate_results(
        &self,
        request: Request<InvalidateResultsRequest>,
    ) -> Result<Response<InvalidateResultsResponse>, Status> {
        let invalidated = match request.into_inner().keys {
            Some(invalidate_results_request::Keys::Key(_)) => 1,
            Some(invalidate_results_request::Keys::Prefix(prefix)) => prefix.len() as u64,
            None => return Err(Status::invalid_argument("no keys")),
        };
        Ok(Response::new(InvalidateResultsResponse { invalidated }))
    }

    async fn stream_permits(
        &self,
        request: Request<Streaming<StreamPermitsRequest>>,
    ) -> Result<Response<Self::StreamPermitsStream>, Status> {
        let (answers, out) = mpsc::channel(100);
        self.0.lock().streams += 1;
        tokio::spawn(self.clone().converse(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }
}

type Answered = Result<StreamPermitsResponse, Status>;

impl Behaviour {
    async fn converse(self, mut calls: Streaming<StreamPermitsRequest>, answers: mpsc::Sender<Answered>) {
        let mut places = BTreeMap::new();
        while let Ok(Some(message)) = calls.message().await {
            for StreamCall { id, call, .. } in message.calls {
                let Some(stream_call::Call::Acquire(request)) = call else {
                    panic!("the client streams acquires")
                };
                let request_id = request.request_id.clone();
                match self.on_stream(request) {
                    Some(Ok(answer)) => {
                        let answers_of = vec![StreamAnswer { id, answer: Some(answer) }];
                        // A client that has gone does not read it.
                        let _ = answers.send(Ok(StreamPermitsResponse { answers: answers_of })).await;
                    }
                    Some(Err(status)) => {
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                    None => drop(places.insert(id, (Place::taken(self.clone()), request_id))),
                }
            }
            for id in message.cancelled {
                let place = places.remove(&id);
                let grants = self.0.lock().grants_when_cancelled;
                if let Some((_place, request_id)) = place.filter(|_| grants) {
                    let late = plain(&format!("late for {request_id}"));
                    let answer = granted(late).map(stream_answer::Answer::Acquired).ok();
                    let answers_of = vec![StreamAnswer { id, answer }];
                    let _ = answers.send(Ok(StreamPermitsResponse { answers: answers_of })).await;
                }
            }
        }
    }

    /// The answer to a call, none while it is held, or what breaks the stream.
    fn on_stream(&self, request: AcquirePermitRequest) -> Option<Result<stream_answer::Answer, Status>> {
        let mut script = self.0.lock();
        if script.holds && request.max_wait.is_some() {
            script.acquires.push(request);
            return None;
        }
        Some(match script.acquire(request) {
            Ok(response) => Ok(stream_answer::Answer::Acquired(response)),
            // What lies between says no reason.
            Err(status) if status.get_error_details().error_info().is_none() => Err(status),
            Err(status) => Ok(stream_answer::Answer::Error(CallError {
                code: status.code().into(),
                message: status.message().to_owned(),
                reason: status.get_error_details().error_info().unwrap().reason.clone(),
                ..Default::default()
            })),
        })
    }
}

#[tonic::async_trait]
impl ClusterService for Behaviour {
    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberResponse>, Status> {
        let mut script = self.0.lock();
        let request = request.into_inner();
        script.additions.push(request.clone());
        let n = script.additions.len();
        let result = (script.on_add)(&request, n);
        script.answer(result)
    }

    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn remove_member(
        &self,
        _: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn transfer_leadership(
        &self,
        _: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}
