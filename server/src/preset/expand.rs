//! From a preset to a definition.

use std::collections::BTreeMap;

use tollgate_proto::v1::{FeedbackRules, Limit, Resource, Scope, limit::Kind};

use super::{Parameter, Plan, Preset, Presets};

impl Preset {
    /// What a plan of it stands for: a definition without a name. `given` are parameters by name; the others are as by
    /// default. `keys` are those of the resource.
    pub fn expand(&self, plan: &Plan, given: &BTreeMap<String, u64>, keys: &[String]) -> Resource {
        Resource { feedback: self.read_by_nodes(), ..self.unread(plan, given, keys) }
    }

    /// As [`expand`](Self::expand), without saying who reads answers: that is known when all presets are.
    pub(super) fn unread(&self, plan: &Plan, given: &BTreeMap<String, u64>, keys: &[String]) -> Resource {
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
            ..Resource::default()
        }
    }
}

impl Preset {
    /// That answers are read with it, if nodes know it: they have those of their program, not those of users' files.
    fn read_by_nodes(&self) -> Option<FeedbackRules> {
        let is_known = Presets::embedded().select(&self.vendor).is_ok();
        is_known.then(|| FeedbackRules { vendor: self.vendor.clone(), ..FeedbackRules::default() })
    }
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
