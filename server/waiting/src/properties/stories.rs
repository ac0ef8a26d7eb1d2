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
