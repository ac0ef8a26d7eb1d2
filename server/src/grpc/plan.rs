//! PlanningService: how long work would take.

use std::time::Duration;

use tollgate_proto::v1::{self, planning_service_server::PlanningService};
use tonic::{Request, Response, Status};

use super::{
    answer::{answer, timeout},
    convert::plan,
    status::Failure,
};
use crate::{
    node::Node,
    raft::call::{Call, Query, Reply},
};

/// The service.
pub struct Plans {
    node: Node,
}

#[tonic::async_trait]
impl PlanningService for Plans {
    async fn estimate_work(
        &self,
        request: Request<v1::EstimateWorkRequest>,
    ) -> Result<Response<v1::EstimateWorkResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.estimate(request.into_inner(), timeout).await;
        answer(&self.node, "EstimateWork", result)
    }
}

impl Plans {
    /// The service of a node.
    pub fn new(node: Node) -> Plans {
        Plans { node }
    }

    async fn estimate(
        &self,
        request: v1::EstimateWorkRequest,
        timeout: Duration,
    ) -> Result<v1::EstimateWorkResponse, Failure> {
        let resources: Vec<String> = request.steps.iter().map(|step| step.resource.clone()).collect();
        let query = Query::Estimate(plan::work(request)?);
        match self.node.router.call(Call::Query(query), timeout).await? {
            Reply::Estimate(estimated) => match *estimated {
                Ok(estimate) => Ok(plan::estimate(estimate)),
                Err(rejected) => {
                    let (rejection, step) = plan::rejection(rejected);
                    let resource = resources.get(step).map_or("", String::as_str);
                    Err(Failure::from(rejection).naming(resource))
                }
            },
            other => Err(Failure::mismatch(&other)),
        }
    }
}
