//! A vendor that answers as it is told, and calls to it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tollgate_client::{
    Answer, CallError, Limiter, Observation, Outcome, Permit,
    v1::{ReleasePermitRequest, ReleasePermitResponse, ReportFeedbackResponse},
};

use crate::fake::Node;

/// Answers a release as the server does that reads the vendor's answers as `read` says.
pub fn reading(
    node: &Node,
    mut read: impl FnMut(&ReleasePermitRequest) -> Option<ReportFeedbackResponse> + Send + 'static,
) {
    node.on_release(move |request, _| {
        Ok(ReleasePermitResponse { understood: read(request), ..Default::default() })
    });
}

/// A vendor that gives these answers in turn.
#[derive(Clone)]
pub struct Vendor {
    answers: Arc<[Observation]>,
    called: Arc<AtomicU32>,
}

impl Vendor {
    pub fn new(answers: impl IntoIterator<Item = Observation>) -> Vendor {
        Vendor { answers: answers.into_iter().collect(), called: Arc::default() }
    }

    pub fn statuses(statuses: &[u16]) -> Vendor {
        Vendor::new(statuses.iter().map(|status| Observation::Answered(Answer::new(*status))))
    }

    pub fn called(&self) -> u32 {
        self.called.load(Ordering::Relaxed)
    }

    /// Success, or what stands in its way.
    pub async fn call(self, _: Arc<Permit>) -> Result<Answer, Observation> {
        let n = self.called.fetch_add(1, Ordering::Relaxed);
        match &self.answers[n as usize] {
            Observation::Answered(answer) if answer.status() < 400 => Ok(answer.clone()),
            other => Err(other.clone()),
        }
    }
}

pub async fn call(limiter: &Limiter, vendor: &Vendor) -> Result<Answer, CallError<Observation>> {
    limiter.call("hubspot/acme", |permit| vendor.clone().call(permit)).await
}

pub fn outcomes(node: &Node) -> Vec<Outcome> {
    node.script().releases.iter().map(ReleasePermitRequest::outcome).collect()
}

pub fn limiter(node: &Node) -> Limiter {
    Limiter::new(node.client()).vendor("hubspot")
}
