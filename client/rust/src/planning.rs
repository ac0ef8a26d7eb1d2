//! Plans, in the words of the wire ([`v1`]), with the client's failover.

use tollgate_proto::v1::{self, planning_service_client::PlanningServiceClient};

use crate::{
    attempt::{Repeat, Terms},
    client::Client,
    error::Error,
};

impl Client {
    /// How long some work would take, which limit holds it up, and when it would be done. Changes nothing. Work that can
    /// never be done is an answer.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] naming each wrong field.
    pub async fn estimate(&self, work: v1::EstimateWorkRequest) -> Result<v1::EstimateWorkResponse, Error> {
        let answered = self.call(Terms::at_once(self.deadline(), Repeat::Freely), |attempt| {
            let request = attempt.request(work.clone());
            async move { PlanningServiceClient::new(attempt.channel).estimate_work(request).await }
        });
        answered.await.map(|answered| answered.message).map_err(Error::from)
    }
}
