//! Stories in which somebody waited who could go, before a fault was mended.

use tollgate_limiter::*;

use super::{
    generate::{Event, LimitParts, budgets, resource},
    world::World,
};

const AGEING: Span = Span::from_secs(1);

fn label(text: &str) -> Label {
    Label::new(text).expect("it is one")
}

fn ask(consumer: &str, cost: u64, priority: Priority, key: &str, patience_s: u64) -> Event {
    let acquire = Acquire {
        resource: ResourceName::new("acme").expect("it is one"),
        operation: Label::default(),
        cost,
        amounts: Default::default(),
        consumer: label(consumer),
        subject: label("jane"),
        key: label(key),
        priority,
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: None,
    };
    Event::Ask { acquire: Box::new(acquire), waited_for: Span::ZERO, patience: Span::from_secs(patience_s) }
}

/// A newcomer gave way in the line that all share, and came to stand in that of its own budget. There it was no newcomer any
/// more, and could have gone before the other; but nobody looked.
#[test]
fn a_newcomer_keeps_the_place_in_which_it_gave_way() {
    let window = FixedWindow {
        amount: 4,
        period: Span::from_secs(5),
        anchor: Anchor::Epoch,
        max_clock_skew: Span::ZERO,
    };
    let limit: LimitParts = (LimitKind::FixedWindow(window), Scope::Resource, None, false);
    let budgets = budgets(&limit);
    let acme = Resource { budgets, ..resource("acme", vec![limit], AGEING) };
    let story = [
        ask("sync", 3, Priority::High, "", 0),
        ask("sync", 1, Priority::High, "", 0),
        ask("export", 2, Priority::Medium, "", 30),
        ask("export", 1, Priority::High, "", 2),
        Event::Sleep,
        ask("export", 1, Priority::Medium, "", 30),
        Event::Sleep,
        ask("sync", 1, Priority::High, "", 0),
        ask("export", 2, Priority::Medium, "blue", 2),
        ask("sync", 1, Priority::Medium, "", 2),
    ];
    let mut world = World::new(vec![acme]);
    for event in &story {
        world.happen(event);
        world.check();
    }
    world.end();
}

/// One that was called when its call ended went by itself before it was looked at, the last of all: the resource that nobody
/// waited for any more was to be looked at for ever.
#[test]
fn nobody_is_looked_for_where_nobody_waits() {
    let pool = Concurrency {
        slots: 1,
        lease_default: Span::from_secs(2),
        lease_max: Span::from_secs(100),
        grace: Span::ZERO,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    };
    let pool: LimitParts = (LimitKind::Concurrency(pool), Scope::Resource, None, false);
    let at = |resource: &str, coalesce_key: Option<&str>| match ask("sync", 1, Priority::High, "", 30) {
        Event::Ask { acquire, waited_for, patience } => {
            let resource = ResourceName::new(resource).expect("it is one");
            let coalesce_key = coalesce_key.map(|key| CoalesceKey::new(key).expect("it is one"));
            let acquire = Box::new(Acquire { resource, coalesce_key, ..*acquire });
            Event::Ask { acquire, waited_for, patience }
        }
        other => other,
    };
    let story = [
        at("acme", None),
        at("acme", Some("k1")),
        at("acme", None),
        at("acme", Some("k1")),
        Event::Sleep,
        at("zeta", None),
        // With a result.
        Event::Release(1, None, CallOutcome::Ok),
    ];
    let resources = ["acme", "zeta"].map(|name| resource(name, vec![pool.clone()], AGEING));
    let mut world = World::new(resources.to_vec());
    for event in &story {
        world.happen(event);
        world.check();
    }
    world.end();
}
