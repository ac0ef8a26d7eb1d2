//! Telling the cluster what a vendor answered, and what it understood.

use std::time::Duration;

use tollgate_proto::v1::{self, Outcome, permit_service_client::PermitServiceClient};

use crate::{
    answer::Answer,
    attempt::{Repeat, Terms},
    client::{self, Client},
    duration::from_wire,
    error::Error,
};

/// What the cluster understood of a vendor's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Understood {
    /// The vendor refused the call because of a limit.
    pub limited: bool,
    /// For how long nothing is granted, to anybody, because of this answer. None: it does not say to wait.
    pub wait: Option<Duration>,
    /// The headers whose values made no sense.
    pub ignored_headers: Vec<String>,
}

impl From<v1::ReportFeedbackResponse> for Understood {
    fn from(response: v1::ReportFeedbackResponse) -> Understood {
        Understood {
            limited: response.limited,
            wait: response.wait.map(from_wire),
            ignored_headers: response.ignored_headers,
        }
    }
}

/// Tells the cluster what a vendor answered to a call that had no permit, or whose permit has ended; await it for what was
/// understood. A call that has its permit says it with the [release](crate::Release::answer).
///
/// ```no_run
/// # use tollgate_client::{Answer, Client, Error};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let answer = Answer::new(429).header("Retry-After", "30");
/// let understood = client.report("hubspot/acme").answer("hubspot", answer).await?;
/// println!("nobody calls for {:?}", understood.wait);
/// # Ok(())
/// # }
/// ```
#[must_use = "a report is sent when it is awaited"]
pub struct Report {
    client: Client,
    request: v1::ReportFeedbackRequest,
    deadline: Duration,
}

impl Client {
    /// Tells what a vendor answered when this resource was called.
    pub fn report(&self, resource: impl Into<String>) -> Report {
        let request = v1::ReportFeedbackRequest { resource: resource.into(), ..Default::default() };
        Report { deadline: self.deadline(), client: self.clone(), request }
    }
}

impl Report {
    /// The credential that was used. Default: the answer is about the resource as a whole.
    pub fn key(mut self, key: impl Into<String>) -> Report {
        self.request.key = key.into();
        self
    }

    /// The answer, and whose preset reads it, such as `hubspot`. What the call [cost](Answer::cost) is not told: there is no permit to
    /// settle.
    pub fn answer(mut self, vendor: &str, answer: Answer) -> Report {
        self.request.feedback = Some(answer.into_feedback(vendor));
        self
    }

    /// The permit of the call, by its id. It tells in which order calls were permitted, and that none counts twice.
    pub fn permit(mut self, permit_id: impl Into<String>) -> Report {
        self.request.permit_id = permit_id.into();
        self
    }

    /// What the call was for. With this, the [consumer](Report::consumer) and the [subject](Report::subject) an answer that says to wait, and
    /// that is about a limit of some operations or of one user, holds nobody else up; those of a permit that the cluster remembers it
    /// knows. Default: not told, and then everybody waits.
    pub fn operation(mut self, operation: impl Into<String>) -> Report {
        self.request.operation = operation.into();
        self
    }

    /// Who called: the workflow or service.
    pub fn consumer(mut self, consumer: impl Into<String>) -> Report {
        self.request.consumer = consumer.into();
        self
    }

    /// On whose behalf the call was made: an end user or a mailbox.
    pub fn subject(mut self, subject: impl Into<String>) -> Report {
        self.request.subject = subject.into();
        self
    }

    /// Who called, and what for, as the permit was asked for that this resource has granted.
    pub(crate) fn asked_for_by(self, request: &v1::AcquirePermitRequest) -> Report {
        let other = request.alternatives.iter().find(|other| other.resource == self.request.resource);
        let operation = other.map_or(&request.operation, |other| &other.operation);
        self.operation(operation).consumer(&request.consumer).subject(&request.subject)
    }

    /// How the call ended, such as [`Outcome::Timeout`] where there is no answer. Default: what the answer says.
    pub fn outcome(mut self, outcome: Outcome) -> Report {
        self.request.outcome = outcome.into();
        self
    }

    /// How long all tries may take together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Report {
        self.deadline = deadline;
        self
    }

    async fn ask(self) -> Result<Understood, Error> {
        let Report { client, request, deadline } = self;
        // Without its permit nobody knows that it is the same, and it would count twice.
        let repeat = if request.permit_id.is_empty() { Repeat::OnlyUnsent } else { Repeat::Freely };
        let answered = client
            .call(Terms::at_once(deadline, repeat), |attempt| {
                let request = attempt.request(request.clone());
                async move { PermitServiceClient::new(attempt.channel).report_feedback(request).await }
            })
            .await?;
        Ok(answered.message.into())
    }
}

impl IntoFuture for Report {
    type Output = Result<Understood, Error>;
    type IntoFuture = client::Answer<Understood>;

    fn into_future(self) -> client::Answer<Understood> {
        Box::pin(self.ask())
    }
}
