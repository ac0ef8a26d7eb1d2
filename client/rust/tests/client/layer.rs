//! The tower layer, around a service that does as it is told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tollgate_client::{
    Answer, CallError, CallRules, Limiter, PermitLayer,
    v1::{GrantedPermit, ReleasePermitResponse, ReportFeedbackResponse},
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::fake::{Node, granted, plain};

type Request = http::Request<String>;

/// What the vendor was sent, and what it answers.
#[derive(Clone, Default)]
struct Vendor(Arc<Mutex<(Vec<Request>, VecDeque<u16>)>>);

impl Vendor {
    fn answering(statuses: impl IntoIterator<Item = u16>) -> Vendor {
        let vendor = Vendor::default();
        vendor.0.lock().1.extend(statuses);
        vendor
    }

    fn answer(&self, request: Request) -> Result<Response, Answer> {
        let mut script = self.0.lock();
        script.0.push(request);
        let status = script.1.pop_front().unwrap();
        if status == 599 {
            return Err(Answer::new(status));
        }
        Ok(http::Response::builder().status(status).body(status.to_string()).unwrap())
    }
}

type Response = http::Response<String>;

/// The layer around the vendor, which is ready for one call at a time.
fn service(
    rules: CallRules<Request>,
    vendor: &Vendor,
) -> impl Service<Request, Response = Response, Error = CallError<Answer>> {
    layered(PermitLayer::new(rules), vendor)
}

fn layered(
    layer: PermitLayer<Request, Response>,
    vendor: &Vendor,
) -> impl Service<Request, Response = Response, Error = CallError<Answer>> {
    let vendor = vendor.clone();
    let inner = service_fn(move |request| {
        let answer = vendor.answer(request);
        async move { answer }
    });
    ServiceBuilder::new().layer(layer).concurrency_limit(1).service(inner)
}

fn rules(node: &Node) -> CallRules<Request> {
    CallRules::new(Limiter::new(node.client()).vendor("hubspot"), "hubspot/acme")
}

fn request(method: &str) -> Request {
    http::Request::builder().method(method).uri("http://vendor/contacts").body("jane".to_owned()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_tried_again_with_another_permit() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(GrantedPermit { key: format!("key-{n}"), ..plain(&format!("p0-{n}")) }));
    let vendor = Vendor::answering([429, 200]);
    let rules = rules(&node).prepare(|request, permit| {
        drop(request.headers_mut().insert("x-key", permit.key().parse().unwrap()))
    });
    let mut service = service(rules, &vendor);
    let response = service.ready().await.unwrap().call(request("POST")).await.unwrap();
    assert_eq!(response.body(), "200");
    let sent: Vec<_> = vendor.0.lock().0.iter().map(|sent| sent.headers()["x-key"].clone()).collect();
    assert_eq!(sent, ["key-1", "key-2"], "each try has the credential of its own permit");
    let told: Vec<_> =
        node.script().releases.iter().map(|told| told.feedback.clone().unwrap().status).collect();
    assert_eq!(told, [429, 200]);
}

#[tokio::test(start_paused = true)]
async fn each_request_says_what_it_needs_and_whether_it_may_be_repeated() {
    let node = Node::in_memory().await;
    let by = |client: &tollgate_client::Client, request: &Request| {
        client.acquire("hubspot/acme").operation(request.method().as_str().to_lowercase())
    };
    let vendor = Vendor::answering([503, 200, 503]);
    let rules = CallRules::by(Limiter::new(node.client()), by)
        .idempotent_if(|request: &Request| request.method().is_idempotent());
    let mut service = service(rules, &vendor);
    let response = service.ready().await.unwrap().call(request("GET")).await.unwrap();
    assert_eq!(response.status(), 200);
    let response = service.ready().await.unwrap().call(request("POST")).await.unwrap();
    assert_eq!(response.status(), 503, "it may have been carried out");
    let asked: Vec<_> = node.script().acquires.iter().map(|asked| asked.operation.clone()).collect();
    assert_eq!(asked, ["get", "get", "post"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_body_says_is_told() {
    let node = Node::in_memory().await;
    // As the server answers for Salesforce.
    node.on_release(|release, _| {
        let limited = release.feedback.as_ref().is_some_and(|told| told.body == b"403");
        let understood = Some(ReportFeedbackResponse { limited, ..Default::default() });
        Ok(ReleasePermitResponse { understood, ..Default::default() })
    });
    let vendor = Vendor::answering([403, 200]);
    let read = |response: &Response| {
        Answer::of(response.status(), response.headers()).body(response.body().as_str()).cost(3)
    };
    let mut reading = layered(PermitLayer::reading(rules(&node), read), &vendor);
    let response = reading.ready().await.unwrap().call(request("POST")).await.unwrap();
    assert_eq!(response.status(), 200, "a refusal for a limit was not carried out");
    assert_eq!(node.script().releases.last().unwrap().cost, Some(3));

    let vendor = Vendor::answering([403]);
    let response = service(rules(&node), &vendor).ready().await.unwrap().call(request("POST")).await.unwrap();
    assert_eq!(response.status(), 403, "nobody knows what it says");
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_service_come_with_the_number_of_tries() {
    let node = Node::in_memory().await;
    let vendor = Vendor::answering([599; 6]);
    let mut service = service(rules(&node).idempotent_if(|_| true), &vendor);
    let error = service.ready().await.unwrap().call(request("GET")).await.unwrap_err();
    assert!(matches!(error, CallError::Failed { tries: 6, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_gives_everything_back() {
    let node = Node::in_memory().await;
    let rules = rules(&node);
    let inner = service_fn(|_: Request| std::future::pending::<Result<http::Response<String>, Answer>>());
    let mut service =
        ServiceBuilder::new().layer(PermitLayer::new(rules)).concurrency_limit(1).service(inner);
    for _ in 0..2 {
        // The second is ready only if the first gave its place back.
        let call = service.ready().await.unwrap().call(request("GET"));
        tokio::time::timeout(Duration::from_secs(1), call).await.unwrap_err();
    }
}
