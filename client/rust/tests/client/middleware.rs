//! The middleware for reqwest, before a vendor that does as it is told.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tollgate_client::{
    CallRules, Limiter, Outcome, PermitMiddleware, Retries,
    v1::{ReleasePermitResponse, ReportFeedbackResponse},
};

use crate::fake::{Node, denied, nobody};

const URL: &str = "http://vendor.example/contacts?page=2";

/// A refusal that looks like a success.
const THROTTLED: &str = r#"{"errors":[{"extensions":{"code":"THROTTLED"}}]}"#;

/// The last of the middlewares: it answers, so that nothing needs a network.
#[derive(Clone, Default)]
struct Vendor(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    sent: Vec<Vec<u8>>,
    answers: VecDeque<http::Response<Body>>,
}

#[tonic::async_trait]
impl Middleware for Vendor {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let told = extensions.get_or_insert_with(Told::default);
        told.0 += 1;
        let mut script = self.0.lock();
        script.sent.push(request.body().and_then(Body::as_bytes).unwrap_or_default().to_vec());
        Ok(script.answers.pop_front().unwrap().into())
    }
}

/// Something that middlewares tell each other.
#[derive(Clone, Default)]
struct Told(u32);

/// Looks at what the vendor told, after all tries.
#[derive(Clone, Default)]
struct Outer(Arc<Mutex<u32>>);

#[tonic::async_trait]
impl Middleware for Outer {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let response = next.run(request, extensions).await;
        *self.0.lock() = extensions.get::<Told>().map_or(0, |told| told.0);
        response
    }
}

fn answer(status: u16, body: impl Into<Body>) -> http::Response<Body> {
    http::Response::builder().status(status).url(URL.parse().unwrap()).body(body.into()).unwrap()
}

impl Vendor {
    fn answering(answers: impl IntoIterator<Item = http::Response<Body>>) -> Vendor {
        let vendor = Vendor::default();
        vendor.0.lock().answers.extend(answers);
        vendor
    }

    fn behind(&self, rules: CallRules<Request>) -> ClientWithMiddleware {
        ClientBuilder::new(reqwest::Client::new())
            .with(PermitMiddleware::new(rules))
            .with(self.clone())
            .build()
    }
}

fn rules(node: &Node) -> CallRules<Request> {
    CallRules::new(Limiter::new(node.client()).vendor("salesforce"), "salesforce/acme")
}

#[tokio::test(start_paused = true)]
async fn a_request_is_tried_again_as_it_was() {
    let node = Node::in_memory().await;
    let vendor = Vendor::answering([answer(429, "slow down"), answer(200, "jane")]);
    let outer = Outer::default();
    let http = ClientBuilder::new(reqwest::Client::new())
        .with(outer.clone())
        .with(PermitMiddleware::new(rules(&node)))
        .with(vendor.clone())
        .build();
    let response = http.post(URL).body("who?").send().await.unwrap();
    assert_eq!(response.url().as_str(), URL);
    assert_eq!(response.text().await.unwrap(), "jane");
    assert_eq!(vendor.0.lock().sent, [b"who?", b"who?"]);
    assert_eq!(node.script().acquires.len(), 2);
    assert_eq!(*outer.0.lock(), 2, "what middlewares tell each other outlives the tries");
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_error_is_told_and_still_there_to_be_read() {
    let node = Node::in_memory().await;
    let refused = r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#;
    let huge = "x".repeat(100_000);
    let in_chunks =
        Body::wrap(http_body_util::StreamBody::new(tokio_stream::iter((0..100).map(|_| {
            Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from("x".repeat(1_000))))
        }))));
    for (body, told, whole) in [
        (Body::from(refused), refused, refused),
        (Body::from(""), "", ""),
        (Body::from(huge.clone()), "", huge.as_str()),
        (in_chunks, "", huge.as_str()),
    ] {
        let http = Vendor::answering([answer(403, body)]).behind(rules(&node));
        let response = http.get(URL).send().await.unwrap();
        let release = node.script().releases.last().unwrap().clone();
        assert_eq!(release.outcome(), Outcome::ClientError);
        assert_eq!(release.feedback.unwrap().body, told.as_bytes());
        assert_eq!((response.status().as_u16(), response.url().as_str()), (403, URL));
        assert_eq!(response.text().await.unwrap(), whole);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_success_is_told_where_that_may_be_a_refusal() {
    let node = Node::in_memory().await;
    // As the server answers for Shopify.
    node.on_release(|release, _| {
        let limited = release.feedback.as_ref().is_some_and(|told| told.body == THROTTLED.as_bytes());
        let understood = Some(ReportFeedbackResponse { limited, ..Default::default() });
        Ok(ReleasePermitResponse { understood, ..Default::default() })
    });
    for (bodies_of, tries, text) in [(vec![http::StatusCode::OK], 2, "jane"), (vec![], 1, THROTTLED)] {
        let vendor = Vendor::answering([answer(200, THROTTLED), answer(200, "jane")]);
        let middleware = PermitMiddleware::new(rules(&node)).read_bodies_of(bodies_of);
        let http = ClientBuilder::new(reqwest::Client::new()).with(middleware).with(vendor.clone()).build();
        let response = http.post(URL).send().await.unwrap();
        assert_eq!(vendor.0.lock().sent.len(), tries);
        assert_eq!(response.text().await.unwrap(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_a_stream_is_sent_once() {
    let node = Node::in_memory().await;
    let vendor = Vendor::answering([answer(429, ""), answer(200, "")]);
    let http = vendor.behind(rules(&node));
    let stream = http_body_util::StreamBody::new(tokio_stream::empty::<
        Result<http_body::Frame<bytes::Bytes>, std::io::Error>,
    >());
    let response = http.post(URL).body(Body::wrap(stream)).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(node.script().acquires.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_permit_is_not_sent() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| denied(std::time::Duration::from_secs(60)));
    let vendor = Vendor::default();
    let error = vendor.behind(rules(&node)).get(URL).send().await.unwrap_err();
    assert_eq!(error.to_string(), "no permit: denied by limit \"daily\": ask again in 60s");
    assert_eq!(vendor.0.lock().sent.len(), 0);
}

#[tokio::test]
async fn where_nobody_listens_the_vendor_has_failed() {
    let node = Node::start().await;
    let limiter = Limiter::new(node.client()).retries(Retries::none());
    let middleware = PermitMiddleware::new(CallRules::new(limiter, "r"));
    let http = ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    let error = http.get(format!("http://{}/", nobody().await)).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let script = node.script();
    assert_eq!((script.releases[0].outcome(), &script.releases[0].feedback), (Outcome::ServerError, &None));
}
