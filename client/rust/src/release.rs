//! Ending a permit.

use std::time::Duration;

use tollgate_proto::v1::{self, Outcome, permit_service_client::PermitServiceClient};

use crate::{
    answer::{Answer, Spent},
    attempt::{Failed, Repeat, Terms},
    client::{self, Client},
    duration::{from_wire, to_wire},
    error::Error,
    feedback::Understood,
    permit::Permit,
};

/// What became of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Released {
    /// How long the permit was held, from grant to release, by the server's clock; 0 when an earlier try had ended it.
    pub held_for: Duration,
    /// What was understood of the vendor's answer. None: none was given, or an earlier try had ended the permit; then a
    /// [report](Client::report) with the permit's id tells it.
    pub understood: Option<Understood>,
    /// A try before the one that was answered may have ended the permit: what that one was answered is lost.
    pub(crate) ended_before: bool,
}

/// Ends a permit; await it for how long the permit was held. Repeating it is safe: when an earlier try may have ended the
/// permit, its being ended is a success.
#[must_use = "a release is sent when it is awaited"]
pub struct Release {
    client: Client,
    request: v1::ReleasePermitRequest,
    deadline: Duration,
    /// The permit to end; none when only its id is known.
    permit: Option<Permit>,
}

impl Release {
    pub(crate) fn of_id(client: Client, permit_id: String) -> Release {
        let request = v1::ReleasePermitRequest { permit_id, ..Default::default() };
        Release { deadline: client.deadline(), client, request, permit: None }
    }

    pub(crate) fn of_permit(client: Client, permit: Permit) -> Release {
        let release = Release::of_id(client, permit.id().to_owned());
        Release { permit: Some(permit), ..release }
    }

    /// How the vendor call ended. Default: [`Outcome::Ok`]. [`Outcome::NotSent`] gives back all that the permit debited:
    /// say it only when it is certain.
    pub fn outcome(mut self, outcome: Outcome) -> Release {
        self.request.outcome = outcome.into();
        self
    }

    /// What the call truly cost, when it differs from what was acquired.
    pub fn cost(mut self, cost: u64) -> Release {
        self.request.cost = Some(cost);
        self
    }

    /// What the call truly weighed in one dimension, such as `output_tokens`.
    pub fn amount(mut self, dimension: impl Into<String>, amount: u64) -> Release {
        self.request.amounts.insert(dimension.into(), amount);
        self
    }

    /// What the vendor answered, and whose preset reads it, such as `hubspot`. If it says to wait, that holds for the whole fleet. What
    /// it says of the [cost](Answer::cost) and the [amounts](Answer::amount) is settled.
    pub fn answer(mut self, vendor: &str, answer: Answer) -> Release {
        let Spent { cost, amounts } = answer.spent().clone();
        self.request.cost = cost.or(self.request.cost);
        self.request.amounts.extend(amounts);
        self.feedback(answer.into_feedback(vendor))
    }

    /// What the vendor answered, in the words of the wire.
    pub fn feedback(mut self, feedback: v1::VendorFeedback) -> Release {
        self.request.feedback = Some(feedback);
        self
    }

    /// What the call came to, for the others that want the same: see [`Acquire::coalesce`](crate::Acquire::coalesce). At most
    /// 16 KiB. Without it, the next one makes the call.
    pub fn result(mut self, result: impl Into<Vec<u8>>) -> Release {
        self.request.result = Some(result.into());
        self
    }

    /// How long the result is kept for those who ask later: 5 s, the default, to 7 days.
    pub fn keep_result_for(mut self, ttl: Duration) -> Release {
        self.request.result_ttl = Some(to_wire(ttl));
        self
    }

    /// How long all tries may take together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Release {
        self.deadline = deadline;
        self
    }

    /// Ends the permit, and tells what was understood of the vendor's answer.
    ///
    /// # Errors
    /// As awaiting it.
    pub async fn send(self) -> Result<Released, Error> {
        let Release { client, request, deadline, mut permit } = self;
        let answer = client
            .call(Terms::at_once(deadline, Repeat::Freely), |attempt| {
                let request = attempt.request(request.clone());
                async move { PermitServiceClient::new(attempt.channel).release_permit(request).await }
            })
            .await;
        let answer = match answer {
            Ok(answered) => Ok(answered.message.into()),
            Err(Failed { error: Error::PermitEnded { .. }, repeated: true }) => {
                Ok(Released { ended_before: true, ..Released::default() })
            }
            Err(Failed { error, .. }) => Err(error),
        };
        if let (Some(permit), Ok(_) | Err(Error::PermitEnded { .. })) = (&mut permit, &answer) {
            permit.ended();
        }
        answer
    }
}

impl IntoFuture for Release {
    type Output = Result<Duration, Error>;
    type IntoFuture = client::Answer<Duration>;

    fn into_future(self) -> client::Answer<Duration> {
        Box::pin(async move { Ok(self.send().await?.held_for) })
    }
}

impl From<v1::ReleasePermitResponse> for Released {
    fn from(response: v1::ReleasePermitResponse) -> Released {
        Released {
            held_for: response.held_for.map(from_wire).unwrap_or_default(),
            understood: response.understood.map(Understood::from),
            ended_before: false,
        }
    }
}
