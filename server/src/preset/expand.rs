//! From a preset to a definition.

use std::collections::BTreeMap;

use tollgate_proto::v1::{CircuitBreaker, FeedbackRules, Limit, OperationCost, Resource, Scope, limit::Kind};

use super::{Operation, Parameter, Plan, Preset};

impl Preset {
    /// What a plan of it stands for: a definition without a name, whose answers are read with this preset
    /// and which leaves a failing vendor alone. `given` are
    /// parameters by name; the others are as by default. `keys` are those of the resource.
    pub fn expand(&self, plan: &Plan, given: &BTreeMap<String, u64>, keys: &[String]) -> Resource {
        let mut limits = plan.limits.clone();
        for allowance in &plan.allowances {
            let parameter = self.parameters.iter().find(|parameter| parameter.name == allowance.parameter);
            let default = parameter.map_or(0, |parameter| parameter.default);
            let number = given.get(&allowance.parameter).copied().unwrap_or(default);
            let more = number.saturating_mul(allowance.amount);
            if let Some(amount) = limits.iter_mut().find_map(|limit| window(limit, &allowance.limit)) {
                // Beyond the greatest amount there is, the definition is refused.
                *amount = amount.saturating_add(more);
            }
        }
        if keys.is_empty() {
            let of_keys = limits.iter_mut().filter(|limit| limit.scope() == Scope::Key);
            of_keys.for_each(|limit| limit.set_scope(Scope::Resource));
        }
        let description = match plan.description.as_str() {
            "" => format!("{} {}", self.title, plan.name),
            description => format!("{}, {description}", self.title),
        };
        Resource {
            description,
            limits,
            dispatch_tolerance: plan.dispatch_tolerance,
            keys: keys.to_vec(),
            operation_costs: self.operation_costs(),
            circuit_breaker: Some(circuit_breaker(keys)),
            feedback: Some(FeedbackRules { vendor: self.vendor.clone(), ..FeedbackRules::default() }),
            ..Resource::default()
        }
    }
}

impl Preset {
    /// Of the operations up to the last that costs other than 1; those behind it cost 1 without being named. Those before it are named,
    /// since they may be patterns that match what a later one matches too, and the first that matches counts.
    fn operation_costs(&self) -> Vec<OperationCost> {
        let last = self.operations.iter().rposition(|operation| operation.cost != 1);
        let named = &self.operations[..last.map_or(0, |last| last + 1)];
        let cost = |of: &Operation| OperationCost { operation: of.name.clone(), cost: of.cost };
        named.iter().map(cost).collect()
    }
}

/// The default one: the figures are the server's. A key that fails does not close the others.
fn circuit_breaker(keys: &[String]) -> CircuitBreaker {
    let scope = if keys.is_empty() { Scope::Resource } else { Scope::Key };
    CircuitBreaker { scope: scope.into(), ..CircuitBreaker::default() }
}

/// The amount of the window with this name.
pub(super) fn window<'l>(limit: &'l mut Limit, name: &str) -> Option<&'l mut u64> {
    if limit.name != name {
        return None;
    }
    match limit.kind.as_mut()? {
        Kind::FixedWindow(window) => Some(&mut window.amount),
        Kind::SlidingWindow(window) => Some(&mut window.amount),
        Kind::TokenBucket(_) | Kind::LeakyBucket(_) | Kind::Concurrency(_) => None,
    }
}

impl Parameter {
    /// Whether a value makes sense; if not, what does.
    pub fn check(&self, value: u64) -> Result<(), String> {
        match value <= self.most {
            true => Ok(()),
            false => Err(format!("must be 0 to {}, not {value}", self.most)),
        }
    }
}
