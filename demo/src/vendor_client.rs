//! One call to the vendor, and what its answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use tollgate_client::{Answer, Observation, Observe, Outcome};
use tollgate_mock_vendor::{BEFORE_HEADER, LABEL_HEADER};

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
    /// What the cluster is told.
    observation: Observation,
}

impl Reply {
    /// Nobody was called.
    pub(crate) const NOT_SENT: Reply =
        Reply { outcome: Outcome::NotSent, retry_after: None, observation: Observation::Unsent };

    /// A failure of the vendor.
    fn failed(observation: Observation) -> Reply {
        Reply { outcome: Outcome::ServerError, retry_after: None, observation }
    }
}

impl Observe for Reply {
    fn observe(&self) -> Observation {
        self.observation.clone()
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
        self.call(&self.task(&mut fastrand::Rng::with_seed(0)), label, None).await
    }

    /// Calls; `label` is what the vendor's ledger knows the call by, and whether it came within the time that its permit had left.
    /// Whatever goes wrong on the way is a failure of the vendor.
    pub async fn call(&self, task: &Task, label: &str, within: Option<Duration>) -> Reply {
        let call = tokio::time::timeout(PATIENCE, self.answer(task, label, within));
        match call.await {
            Ok(Ok((status, headers, body))) => read(status, &headers, &body),
            Ok(Err(observation)) => Reply::failed(observation),
            Err(_) => Reply::failed(Observation::Unanswered),
        }
    }

    async fn answer(
        &self,
        task: &Task,
        label: &str,
        within: Option<Duration>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Observation> {
        let request = self.request(task, label, within).ok_or(Observation::Unanswered)?;
        let (parts, body) = self.http.request(request).await.map_err(|error| unsaid(&error))?.into_parts();
        let body = body.collect().await.map_err(|_| Observation::Unanswered)?;
        Ok((parts.status, parts.headers, body.to_bytes()))
    }

    fn request(&self, task: &Task, label: &str, within: Option<Duration>) -> Option<Request<Empty<Bytes>>> {
        let mut request = Request::get(format!("{}{}", self.url, task.uri)).header(LABEL_HEADER, label);
        if let Some(within) = within {
            let before = (wall_clock() + within).duration_since(UNIX_EPOCH).ok()?;
            request = request.header(BEFORE_HEADER, before.as_millis().to_string());
        }
        request.body(Empty::new()).ok()
    }
}

/// There is no answer. Where no connection could be made, nothing was sent.
fn unsaid(error: &Error) -> Observation {
    if error.is_connect() { Observation::Unreached } else { Observation::Unanswered }
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
    Reply {
        outcome,
        retry_after: seconds.map(Duration::from_secs),
        observation: Observation::Answered(answer),
    }
}

/// As the vendor sees it.
#[expect(clippy::disallowed_methods, reason = "a worker is no part of Tollgate, nor is its time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
