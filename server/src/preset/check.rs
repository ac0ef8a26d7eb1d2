//! The rules of a preset beyond a single value.

use std::{collections::BTreeSet, slice};

use tollgate_limiter::{LimitName, MAX_AMOUNT, ResourceName};
use tollgate_vendors::Reading;

use super::{Plan, Preset, expand::window};
use crate::{
    grpc::convert::definition::definition,
    toml_reader::{Fault, unknown},
};

/// All that does not hold. `lines` are those of the plans.
pub fn check(preset: &Preset, lines: &[usize]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |line: Option<usize>, key: &str, problem: String| {
        faults.push(Fault { line, key: key.to_owned(), problem });
    };
    if let Err(problem) = ResourceName::new(&preset.vendor) {
        fault(None, "vendor", problem.to_string());
    }
    if !preset.plans.iter().any(|plan| plan.name == preset.default_plan) {
        let plans = preset.plans.iter().map(|plan| plan.name.as_str());
        fault(None, "default_plan", unknown(&preset.default_plan, plans));
    }
    for operation in preset.operations.iter().filter(|of| !(1..=MAX_AMOUNT).contains(&of.cost)) {
        let problem = format!("must be 1 to {MAX_AMOUNT}, not {}", operation.cost);
        fault(None, &format!("operation {} cost", operation.name), problem);
    }
    for (kind, twice) in [
        ("plan", repeated(preset.plans.iter().map(|plan| &plan.name))),
        ("operation", repeated(preset.operations.iter().map(|operation| &operation.name))),
        ("parameter", repeated(preset.parameters.iter().map(|parameter| &parameter.name))),
    ] {
        for name in twice {
            fault(None, kind, format!("`{name}` is in this file twice"));
        }
    }
    for limit in spoken_of(preset).filter(|limit| !has_limit(preset, limit)) {
        let limits = preset.plans.iter().flat_map(|plan| &plan.limits).map(|limit| limit.name.as_str());
        fault(
            None,
            "header or limited",
            unknown(limit.as_str(), limits.collect::<BTreeSet<_>>().into_iter()),
        );
    }
    for (plan, line) in preset.plans.iter().zip(lines) {
        for problem in plan_problems(preset, plan) {
            fault(Some(*line), &format!("plan {}", plan.name), problem);
        }
    }
    faults
}

fn repeated<'n>(names: impl Iterator<Item = &'n String>) -> BTreeSet<&'n String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

/// The limits that headers and signs are about.
fn spoken_of(preset: &Preset) -> impl Iterator<Item = &LimitName> {
    let by_headers = preset.profile.headers.iter().filter_map(|rule| Reading::limit(&rule.reading));
    by_headers.chain(preset.profile.signs.iter().filter_map(|sign| sign.limit.as_ref()))
}

fn has_limit(preset: &Preset, name: &LimitName) -> bool {
    preset.plans.iter().flat_map(|plan| &plan.limits).any(|limit| limit.name == name.as_str())
}

fn plan_problems(preset: &Preset, plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    if LimitName::new(&plan.name).is_err() {
        problems.push("its name must be lower-case letters, digits, '_' and '-'".to_owned());
    }
    for allowance in &plan.allowances {
        if !preset.parameters.iter().any(|parameter| parameter.name == allowance.parameter) {
            let names = preset.parameters.iter().map(|parameter| parameter.name.as_str());
            problems.push(format!("allowance: {}", unknown(&allowance.parameter, names)));
        }
        if !plan.limits.iter().any(|limit| window(&mut limit.clone(), &allowance.limit).is_some()) {
            problems.push(format!("allowance: `{}` is no window of this plan", allowance.limit));
        }
    }
    // With a key and without.
    let key = "key".to_owned();
    for keys in [slice::from_ref(&key), &[]] {
        let mut resource = preset.expand(plan, &Default::default(), keys);
        resource.name = "vendor/account".to_owned();
        let invalid = definition(resource).err().map(|invalid| invalid.0).unwrap_or_default();
        for violation in invalid.iter().map(ToString::to_string) {
            if !problems.contains(&violation) {
                problems.push(violation);
            }
        }
    }
    problems
}
