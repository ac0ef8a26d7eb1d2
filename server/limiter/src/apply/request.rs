//! What a request means to a resource: whether it is valid there, which limits apply, what it weighs on each.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{budget::Standing, operations};
use crate::{
    counter::most,
    model::{Acquire, Dimension, LEASE_MIN, Label, Limit, MAX_AMOUNT, Resource, Scope, Span, Violation},
    state::Permit,
};

/// What a request wants of one limit.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// Which, by its position.
    pub limit: usize,
    pub scope_value: Label,
    /// Cost, amount, or one slot: at least 1.
    pub amount: u64,
    /// Whether it fits. A shadow limit may lack room and the request is granted all the same.
    pub fits: bool,
}

/// One for each limit that applies. Few resources have more than four limits, and no request of theirs allocates.
pub(super) type Demands = SmallVec<[Demand; 4]>;

/// Who calls what with which key: what selects limits and their counters.
pub(super) struct Caller<'a> {
    pub operation: &'a Label,
    pub key: &'a Label,
    pub consumer: &'a Label,
    pub subject: &'a Label,
}

impl<'a> Caller<'a> {
    pub(super) fn with(permit: &'a Permit) -> Caller<'a> {
        Caller {
            operation: &permit.operation,
            key: &permit.key,
            consumer: &permit.consumer,
            subject: &permit.subject,
        }
    }

    pub(super) fn of(acquire: &'a Acquire, key: &'a Label) -> Caller<'a> {
        Caller { operation: &acquire.operation, key, consumer: &acquire.consumer, subject: &acquire.subject }
    }

    /// The value that selects the limit's counter, if it was given.
    pub(super) fn scope_value(&self, scope: Scope) -> Option<Label> {
        let value = match scope {
            Scope::Resource => return Some(Label::default()),
            Scope::Key => self.key,
            Scope::Consumer => self.consumer,
            Scope::Subject => self.subject,
        };
        (!value.is_empty()).then(|| value.clone())
    }
}

/// What it wants of each limit that applies: the operation matches, the weight is not 0, and the scope value is there.
/// Nothing else stays in `demands`.
pub(super) fn demand(
    resource: &Resource,
    caller: &Caller,
    cost: u64,
    amounts: &BTreeMap<Dimension, u64>,
    demands: &mut Demands,
) {
    demands.clear();
    for (index, limit) in resource.limits.iter().enumerate() {
        let amount = limit.weight(cost, amounts);
        let Some(scope_value) = caller.scope_value(limit.scope) else { continue };
        if amount > 0 && operations::applies(&limit.operations, caller.operation) {
            demands.push(Demand { limit: index, scope_value, amount, fits: false });
        }
    }
}

/// What is wrong with the request whatever the counters say. Shadow limits demand nothing: they never stop a request.
pub(super) fn check(resource: &Resource, acquire: &Acquire) -> Result<(), Violation> {
    if acquire.cost > MAX_AMOUNT {
        return Err(Violation::new("cost", format!("must be 1 to {MAX_AMOUNT}, not {}", acquire.cost)));
    }
    let cost = operations::cost(resource, acquire);
    check_amounts(resource, &acquire.amounts, &BTreeMap::new())?;
    check_key(resource, &acquire.key)?;
    let applying = resource
        .limits
        .iter()
        .filter(|limit| !limit.shadow && operations::applies(&limit.operations, &acquire.operation));
    for limit in applying {
        check_scope(limit, acquire, cost)?;
        check_size(limit, acquire, cost)?;
        check_lease(limit, acquire.lease)?;
    }
    Standing::of(resource, &acquire.consumer).map_or(Ok(()), |standing| standing.check(acquire, cost))
}

/// Amounts must be of dimensions that some limit weighs by, so that a misspelt one does not go uncounted; or did when the
/// permit was `acquired`, so that a change of the resource does not stop the release of what was granted before.
pub(super) fn check_amounts(
    resource: &Resource,
    amounts: &BTreeMap<Dimension, u64>,
    acquired: &BTreeMap<Dimension, u64>,
) -> Result<(), Violation> {
    for (dimension, amount) in amounts {
        let field = || format!("amounts[\"{dimension}\"]");
        if *amount > MAX_AMOUNT {
            return Err(Violation::new(field(), format!("must be 0 to {MAX_AMOUNT}, not {amount}")));
        }
        let weighed = resource.limits.iter().any(|limit| limit.dimension.as_ref() == Some(dimension));
        if !weighed && !acquired.contains_key(dimension) {
            return Err(Violation::new(field(), unknown_dimension(resource)));
        }
    }
    Ok(())
}

/// A key that the resource does not have. None at all is left to the caller.
pub(super) fn check_key(resource: &Resource, key: &Label) -> Result<(), Violation> {
    match key.is_empty() || resource.keys.contains(key) {
        true => Ok(()),
        false => Err(Violation::new("key", unknown_key(resource))),
    }
}

/// A lease that the limit could not give.
pub(super) fn check_lease(limit: &Limit, lease: Option<Span>) -> Result<(), Violation> {
    let (Some(concurrency), Some(lease)) = (limit.kind.concurrency(), lease) else { return Ok(()) };
    if lease < LEASE_MIN || lease > concurrency.lease_max {
        let most = concurrency.lease_max;
        let problem =
            format!("must be {LEASE_MIN} to {most}, the most of limit `{}`, not {lease}", limit.name);
        return Err(Violation::new("lease", problem));
    }
    Ok(())
}

/// A limit that counts by consumer or subject needs to know it. Without a key the server takes one.
fn check_scope(limit: &Limit, acquire: &Acquire, cost: u64) -> Result<(), Violation> {
    let (field, value) = match limit.scope {
        Scope::Consumer => ("consumer", &acquire.consumer),
        Scope::Subject => ("subject", &acquire.subject),
        Scope::Resource | Scope::Key => return Ok(()),
    };
    if value.is_empty() && limit.weight(cost, &acquire.amounts) > 0 {
        return Err(Violation::new(
            field,
            format!("is required by limit `{}`, which counts by it", limit.name),
        ));
    }
    Ok(())
}

/// More than the limit could ever grant.
fn check_size(limit: &Limit, acquire: &Acquire, cost: u64) -> Result<(), Violation> {
    let amount = limit.weight(cost, &acquire.amounts);
    let Some(most) = most(&limit.kind).filter(|most| amount > *most) else { return Ok(()) };
    let field = match &limit.dimension {
        Some(dimension) => format!("amounts[\"{dimension}\"]"),
        None => "cost".to_string(),
    };
    let problem = format!(
        "must be at most {most}, the most that limit `{}` ever grants at once, not {amount}",
        limit.name
    );
    Err(Violation::new(field, problem))
}

fn unknown_key(resource: &Resource) -> String {
    match resource.keys.is_empty() {
        true => "must be empty: the resource has no keys".to_string(),
        false => format!("is none of the resource's keys: {}", listed(resource.keys.iter())),
    }
}

fn unknown_dimension(resource: &Resource) -> String {
    let mut known: Vec<_> = resource.limits.iter().filter_map(|limit| limit.dimension.as_ref()).collect();
    known.sort_unstable();
    known.dedup();
    match known.is_empty() {
        true => "no limit of the resource weighs by a dimension".to_string(),
        false => format!("no limit of the resource weighs by it; known dimensions: {}", listed(known)),
    }
}

fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
