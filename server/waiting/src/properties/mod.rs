//! What holds whatever happens.
//!
//! `PROPTEST_CASES=10000 cargo test` looks further.

mod consistency;
mod generate;
mod model;
mod stories;
mod world;

use proptest::prelude::*;

use self::{
    generate::{any_resources, one_limit, story},
    world::World,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody waits who could go, everybody who goes is granted, each wait ends once and in time, and what is left in the
    /// end is nothing.
    #[test]
    fn no_wake_up_is_lost(resources in any_resources(), story in story(80)) {
        let mut world = World::new(resources);
        for event in &story {
            world.happen(event);
            world.check();
        }
        world.end();
    }

    /// With one limit the rules leave nothing open: a plain list that is searched in full each time gives the same permits
    /// in the same order, and an aged waiter has its permit within the bound.
    #[test]
    fn the_order_is_that_of_a_plain_list(resource in one_limit(), story in story(120)) {
        let mut world = World::new(vec![resource.clone()]).beside_a_model();
        for event in &story {
            world.happen(event);
        }
        world.end();
    }
}
