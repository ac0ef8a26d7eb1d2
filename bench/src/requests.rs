//! Which request comes next.

use rand::distr::{Distribution, weighted::WeightedIndex};
use tollgate_proto::v1::AcquirePermitRequest;

use crate::plan::Plan;

/// Who asks, in every request: resources that tell consumers apart show it.
const CONSUMER: &str = "bench";

/// Makes requests for permits.
pub struct Requests {
    resources: Vec<String>,
    // None: all are asked for as often.
    popularity: Option<WeightedIndex<f64>>,
    request_ids: bool,
}

impl Requests {
    /// Requests for these resources, at least one.
    pub fn new(plan: &Plan, resources: Vec<String>) -> Requests {
        let popularity = plan.zipf.map(|exponent| zipf(resources.len(), exponent));
        Requests { resources, popularity, request_ids: plan.request_ids }
    }

    /// The next request.
    pub fn next(&self) -> AcquirePermitRequest {
        AcquirePermitRequest {
            resource: self.resources[self.choose()].clone(),
            consumer: CONSUMER.to_owned(),
            request_id: if self.request_ids {
                format!("{:032x}", rand::random::<u128>())
            } else {
                String::new()
            },
            ..AcquirePermitRequest::default()
        }
    }

    /// The resources.
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Which resource is asked for next.
    pub fn choose(&self) -> usize {
        match &self.popularity {
            Some(popularity) => popularity.sample(&mut rand::rng()),
            None if self.resources.len() == 1 => 0,
            None => rand::random_range(0..self.resources.len()),
        }
    }
}

fn zipf(count: usize, exponent: f64) -> WeightedIndex<f64> {
    let weights = (1..=count).map(|rank| (rank as f64).powf(-exponent));
    WeightedIndex::new(weights).expect("the weights are positive, and the first is 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_resource_is_asked_for_an_nth_as_often() {
        let popularity = zipf(100, 1.0);
        let mut counts = [0_u32; 100];
        for _ in 0..200_000 {
            counts[popularity.sample(&mut rand::rng())] += 1;
        }
        // Chance alone moves each by less than 5 % at these numbers.
        for rank in [2, 5, 10] {
            let times = f64::from(counts[0]) / f64::from(counts[rank - 1]);
            assert!(
                (times / rank as f64 - 1.0).abs() < 0.2,
                "the first is asked for {times} times as often as {rank}"
            );
        }
    }
}
