//! A decision does not allocate: what it makes lies in the answer, or takes the place of what went.
//!
//! What is left are nodes of trees, one for hundreds of commands.

#[path = "../benches/account/mod.rs"]
mod account;

use account::{Account, COMMANDS, Requests};
use tollgate_limiter::{Command, Span};

const ENTRIES: usize = 100;

/// Of so many entries, prepared beforehand.
fn allocations(account: &mut Account, entries: &[Vec<Command>]) -> u64 {
    let measured = allocation_counter::measure(|| {
        for entry in entries {
            account.apply(entry);
        }
    });
    measured.count_total
}

fn entries(requests: &mut Requests) -> Vec<Vec<Command>> {
    (0..ENTRIES).map(|_| requests.entry()).collect()
}

#[test]
fn a_permit_that_is_not_remembered_allocates_nothing() {
    for limits in [account::one_limit(), account::four_limits()] {
        let (mut account, mut requests) = (Account::new(1, &limits, Span::ZERO), Requests::of(1));
        account.grant(ENTRIES, &mut requests);
        assert_eq!(allocations(&mut account, &entries(&mut requests)), 0, "{} limits", limits.len());
    }
}

#[test]
fn a_denial_tells_of_the_limit_and_allocates_nothing_else() {
    let (mut account, mut requests) = (Account::new(1, &account::exhausted(), Span::ZERO), Requests::of(1));
    account.apply(&[requests.request().into()]);
    // The list of the limits that are exhausted.
    let denials = (ENTRIES * COMMANDS) as u64;
    assert_eq!(allocations(&mut account, &entries(&mut requests)), denials);
}

/// Remembered for a second, while a thousand entries come in each.
#[test]
fn permits_that_are_remembered_take_the_place_of_those_that_are_forgotten() {
    for limits in [account::one_limit(), account::four_limits()] {
        let (mut account, mut requests) = (Account::new(1, &limits, Span::from_secs(1)), Requests::of(1));
        account.grant(1_500, &mut requests);
        let allocations = allocations(&mut account, &entries(&mut requests));
        assert!(allocations < (ENTRIES * COMMANDS / 100) as u64, "{allocations} allocations");
    }
}

/// The ids alone need memory, until as many are remembered as may be: a chunk for every few dozen.
#[test]
fn request_ids_are_kept_without_an_allocation_each() {
    let mut account = Account::new(1, &account::one_limit(), Span::from_secs(1));
    let mut requests = Requests::of(1).with_ids();
    account.grant(1_500, &mut requests);
    let allocations = allocations(&mut account, &entries(&mut requests));
    assert!(allocations < (ENTRIES * COMMANDS / 4) as u64, "{allocations} allocations");
}

#[test]
fn a_slot_that_is_taken_and_released_allocates_nothing_of_its_own() {
    let (mut account, requests) = (Account::new(1, &account::slots(), Span::ZERO), Requests::of(1).entry());
    let mut releases: Vec<Command> = Vec::with_capacity(COMMANDS);
    let mut pairs = || {
        for _ in 0..ENTRIES {
            releases.clear();
            releases.extend(account::granted(account.apply(&requests)).map(account::release));
            account.apply(&releases);
        }
    };
    pairs();
    let allocations = allocation_counter::measure(pairs).count_total;
    // What remains are nodes of the trees that slots are kept in.
    assert!(allocations < (ENTRIES * COMMANDS / 2) as u64, "{allocations} allocations");
}
