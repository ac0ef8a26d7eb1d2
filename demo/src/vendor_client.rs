//! One call to the vendor, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tollgate_client::{Answer, Observation, Observe, Outcome};
use tollgate_mock_vendor::LABEL_HEADER;

use crate::scene::{Scene, Task};

/// How long a worker waits for an answer. Longer than the longest call of any scene.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections to the vendor. Cheap to clone.
#[derive(Clone)]
pub struct VendorClient {
    http: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    scene: Scene,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it means.
    pub outcome: Outcome,
    /// How long the vendor wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The answer; none if there was none.
    answer: Option<Answer>,
}

impl Reply {
    /// Nobody was called.
    pub(crate) const NOT_SENT: Reply = Reply { outcome: Outcome::NotSent, retry_after: None, answer: None };

    const UNANSWERED: Reply = Reply { outcome: Outcome::ServerError, retry_after: None, answer: None };
}

impl Observe for Reply {
    fn observe(&self) -> Observation {
        match &self.answer {
            Some(answer) => Observation::Answered(answer.clone()),
            None if self.outcome == Outcome::NotSent => Observation::Unsent,
            None => Observation::Unanswered,
        }
    }
}

impl VendorClient {
    /// Connects when it first calls `url`, such as `http://127.0.0.1:8080`.
    pub fn new(url: &str, scene: Scene) -> VendorClient {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        VendorClient { http, url: url.to_owned(), scene }
    }

    /// How the preset that reads its answers is called.
    pub(crate) fn preset(&self) -> &'static str {
        self.scene.preset()
    }

    /// Some work for it.
    pub fn task(&self, random: &mut fastrand::Rng) -> Task {
        self.scene.task(random)
    }

    /// Calls, for the first task that comes.
    pub async fn call_once(&self, label: &str) -> Reply {
        self.call(&self.task(&mut fastrand::Rng::with_seed(0)), label).await
    }

    /// Calls; `label` is what the vendor's ledger knows the call by. Whatever goes wrong on the way is a failure of the vendor.
    pub async fn call(&self, task: &Task, label: &str) -> Reply {
        let call = tokio::time::timeout(PATIENCE, self.answer(task, label));
        match call.await {
            Ok(Some((status, headers, body))) => read(status, &headers, &body),
            Ok(None) | Err(_) => Reply::UNANSWERED,
        }
    }

    async fn answer(&self, task: &Task, label: &str) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let uri = format!("{}{}", self.url, task.uri);
        let request = Request::get(uri).header(LABEL_HEADER, label).body(Empty::new()).ok()?;
        let (parts, body) = self.http.request(request).await.ok()?.into_parts();
        Some((parts.status, parts.headers, body.collect().await.ok()?.to_bytes()))
    }
}

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Reply {
    let outcome = match status {
        // Forbidden is Salesforce's answer to too much; no call of a scene is forbidden otherwise.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => Outcome::Throttled,
        status if status.is_success() => Outcome::Ok,
        status if status.is_client_error() => Outcome::ClientError,
        _ => Outcome::ServerError,
    };
    let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let answer = Answer::of(status, headers).body(if status.is_success() { &[] } else { body });
    Reply { outcome, retry_after: seconds.map(Duration::from_secs), answer: Some(answer) }
}
