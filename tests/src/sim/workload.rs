//! What is protected and what is asked for: resources with every kind of limit, small enough that requests meet their
//! bounds all the time, and requests that meet all of their limits.

use std::collections::BTreeMap;

use tollgate_limiter::*;

use super::random::Random;

/// Consumers and subjects there are.
const CONSUMERS: &[&str] = &["crm/sync", "crm/export", "sales/ui", "sales/bot"];

/// On whose behalf they ask; nobody's, for most.
const SUBJECTS: &[&str] = &["", "", "portal-1", "portal-2", "portal-3"];

/// Operations that limits tell apart.
const OPERATIONS: &[&str] = &["read", "search", "batch/write"];

/// The name of the resource with this number.
pub fn resource_name(number: usize) -> ResourceName {
    ResourceName::new(&format!("vendor/account-{number}")).expect("letters and digits are a name")
}

/// The name of the key with this number, in all resources that have as many.
pub fn key(number: u64) -> Label {
    label(&format!("key-{number}"))
}

/// The definition of a resource that follows from a seed. Limits of the same kind have the same name in all definitions,
/// so that one definition takes over what another has counted.
pub fn resource(number: usize, seed: u64) -> Resource {
    let mut random = Random::new(seed, "resource");
    let keys: Vec<_> = (0..random.below(3)).map(key).collect();
    let mut limits = Vec::new();
    while limits.is_empty() {
        limits = draw_limits(&mut random, !keys.is_empty());
    }
    let has_windows = limits.iter().any(|limit: &Limit| limit.kind.is_window());
    Resource {
        name: resource_name(number),
        limits,
        keys,
        dispatch_tolerance: Span::from_millis(if has_windows { *random.pick(&[0, 0, 100]) } else { 0 }),
        settle_within: Span::from_millis(*random.pick(&[0, 2_000, 10_000])),
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing { ageing: Span::from_secs(3), ..Queueing::default() },
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

/// The definition of a resource that nobody ever changes: what clients see of it can be judged without the log. It has one
/// plain limit, or slots that budgets divide.
pub fn steady_resource(number: usize, seed: u64) -> Resource {
    let mut random = Random::new(seed, "steady resource");
    let (limit, budgets) = match random.below(6) {
        0 => (limit("bucket", draw_bucket(&mut random)), vec![]),
        1 => (limit("paced", draw_leaky(&mut random)), vec![]),
        2 => (limit("sliding", draw_sliding(&mut random)), vec![]),
        3 | 4 => (limit("slots", draw_steady_slots(&mut random, 1)), vec![]),
        _ => (limit("slots", draw_steady_slots(&mut random, 4)), divide("slots")),
    };
    Resource {
        name: resource_name(number),
        limits: vec![limit],
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::from_secs(2),
        description: Description::default(),
        budgets,
        queueing: Queueing { ageing: Span::from_secs(3), ..Queueing::default() },
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

/// Slots that count at once. Leases are long beside most holds, so that what is released is worth a wake-up.
fn draw_steady_slots(random: &mut Random, slots_min: u64) -> LimitKind {
    LimitKind::Concurrency(Concurrency {
        slots: random.between(slots_min, slots_min + 3) as u32,
        lease_default: Span::from_millis(*random.pick(&[1_500, 4_000, 6_000])),
        lease_max: Span::from_secs(6),
        grace: Span::from_millis(*random.pick(&[0, 200, 500])),
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    })
}

/// One team has half of a limit to itself, another a quarter, and a ceiling.
fn divide(limit: &str) -> Vec<Budget> {
    let budget = |team: &str, reserve_percent, ceiling_percent| Budget {
        name: name(team),
        consumers: vec![label(&format!("{team}/*"))],
        unbudgeted: false,
        weight: 1,
        shares: vec![BudgetShare { limit: name(limit), reserve_percent, ceiling_percent }],
        schedule: None,
    };
    vec![budget("crm", 50, 100), budget("sales", 25, 75)]
}

fn draw_limits(random: &mut Random, has_keys: bool) -> Vec<Limit> {
    let mut limits = Vec::new();
    if random.chance(700) {
        limits.push(draw_slots(random, has_keys));
    }
    if random.chance(400) {
        let bucket = draw_bucket(random);
        limits.push(draw_scope(random, limit("bucket", bucket), has_keys));
    }
    if random.chance(200) {
        limits.push(limit("paced", draw_leaky(random)));
    }
    if random.chance(300) {
        let window = draw_sliding(random);
        limits.push(draw_scope(random, limit("sliding", window), has_keys));
    }
    if random.chance(300) {
        limits.push(draw_fixed(random));
    }
    if random.chance(250) {
        let bucket = TokenBucket { capacity: 2_000, refill_amount: 1_000, refill_period: Span::from_secs(1) };
        let dimension = Some(name("tokens"));
        limits.push(Limit { dimension, ..limit("tokens", LimitKind::TokenBucket(bucket)) });
    }
    limits
}

fn draw_bucket(random: &mut Random) -> LimitKind {
    let refill_period = Span::from_millis(*random.pick(&[500, 1_000, 3_000]));
    LimitKind::TokenBucket(TokenBucket { capacity: random.between(6, 30), refill_amount: 6, refill_period })
}

fn draw_leaky(random: &mut Random) -> LimitKind {
    LimitKind::LeakyBucket(LeakyBucket { amount: random.between(6, 40), period: Span::from_secs(1) })
}

fn draw_sliding(random: &mut Random) -> LimitKind {
    let period = Span::from_millis(*random.pick(&[1_000, 4_000]));
    let resolution = *random.pick(&[1, 4, 10]);
    LimitKind::SlidingWindow(SlidingWindow { amount: random.between(6, 30), period, resolution })
}

fn draw_slots(random: &mut Random, has_keys: bool) -> Limit {
    let lease_default = Span::from_millis(*random.pick(&[600, 1_500, 4_000]));
    let concurrency = Concurrency {
        slots: random.between(1, 6) as u32,
        lease_default,
        lease_max: Span::from_secs(6),
        grace: Span::from_millis(*random.pick(&[0, 200, 500])),
        counts_after: Span::from_millis(*random.pick(&[0, 0, 0, 300])),
        quarantine: Span::from_millis(*random.pick(&[0, 0, 400])),
    };
    draw_scope(random, limit("slots", LimitKind::Concurrency(concurrency)), has_keys)
}

fn draw_fixed(random: &mut Random) -> Limit {
    let period = Span::from_millis(*random.pick(&[1_000, 5_000]));
    let (anchor, max_clock_skew) = match random.chance(500) {
        true => (Anchor::FirstRequest, Span::ZERO),
        false => (Anchor::Epoch, Span::from_millis(*random.pick(&[0, 100]))),
    };
    let window = FixedWindow { amount: random.between(6, 30), period, anchor, max_clock_skew };
    limit("fixed", LimitKind::FixedWindow(window))
}

fn draw_scope(random: &mut Random, mut limit: Limit, has_keys: bool) -> Limit {
    limit.scope = match random.below(7) {
        0 if has_keys => Scope::Key,
        1 => Scope::Consumer,
        2 => Scope::Subject,
        _ => Scope::Resource,
    };
    if random.chance(200) {
        limit.operations = vec![label(["search", "batch/*"][random.below(2) as usize])];
    }
    limit
}

fn limit(name_of_it: &str, kind: LimitKind) -> Limit {
    Limit {
        name: name(name_of_it),
        operations: vec![],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 16,
        shadow: false,
        kind,
    }
}

/// A request that follows from chance. `id` makes its retries safe.
pub fn request(random: &mut Random, resources: usize, id: Option<String>) -> Acquire {
    let number = random.below(resources as u64) as usize;
    let (operation, cost, amounts) = draw_call(random);
    Acquire {
        resource: resource_name(number),
        operation,
        cost,
        amounts,
        consumer: label(random.pick::<&str>(CONSUMERS)),
        subject: label(random.pick::<&str>(SUBJECTS)),
        key: Label::default(),
        priority: *random.pick(&[Priority::Low, Priority::Medium, Priority::Medium, Priority::High]),
        lease: random.chance(200).then(|| Span::from_millis(*random.pick(&[300, 2_000, 6_000]))),
        request_id: id.and_then(|id| RequestId::new(&id).ok()),
        alternatives: if random.chance(80) { draw_alternatives(random, number, resources) } else { vec![] },
        coalesce_key: None,
    }
}

/// Some of the other resources, from the next one on.
fn draw_alternatives(random: &mut Random, number: usize, resources: usize) -> Vec<Alternative> {
    let others = random.between(0, resources as u64 - 1) as usize;
    let alternative = |further: usize| {
        let (operation, cost, amounts) = draw_call(random);
        let resource = resource_name((number + further) % resources);
        Alternative { resource, operation, cost, amounts, key: Label::default() }
    };
    (1..=others).map(alternative).collect()
}

/// What a call is, costs and weighs.
fn draw_call(random: &mut Random) -> (Label, u64, BTreeMap<Dimension, u64>) {
    let mut amounts = BTreeMap::new();
    // Most resources count no tokens, and reject those who name some.
    if random.chance(100) {
        amounts.insert(name("tokens"), random.between(1, 900));
    }
    (label(random.pick::<&str>(OPERATIONS)), *random.pick(&[1, 1, 1, 2, 5]), amounts)
}

fn name(text: &str) -> LimitName {
    LimitName::new(text).expect("the names in this file are names")
}

fn label(text: &str) -> Label {
    Label::new(text).expect("the labels in this file have no control characters")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_definition_is_valid() {
        for seed in 0..2_000 {
            assert_eq!(resource(0, seed).validate(), Ok(()), "seed {seed}");
            assert_eq!(steady_resource(0, seed).validate(), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn alternatives_are_other_resources() {
        let mut random = Random::new(1, "requests");
        let requests: Vec<_> = (0..2_000).map(|_| request(&mut random, 3, None)).collect();
        for request in &requests {
            let others = request.alternatives.iter().map(|alternative| &alternative.resource);
            let all: BTreeSet<_> = others.chain([&request.resource]).collect();
            assert_eq!(all.len(), request.alternatives.len() + 1);
        }
        assert!(requests.iter().any(|request| request.alternatives.len() == 2));
    }

    #[test]
    fn every_kind_of_limit_is_drawn() {
        let fields: BTreeSet<_> =
            (0..200).flat_map(|seed| resource(0, seed).limits).map(|limit| limit.kind.field()).collect();
        assert_eq!(fields.len(), 5);
    }
}
