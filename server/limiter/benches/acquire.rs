//! What a decision costs in the limiter alone: without the log, the network and the disk.
//!
//! `just bench-limiter` runs it; docs/PERFORMANCE.md has figures. Times are for entries of 64 commands; `items` are
//! commands.

mod account;

use std::cell::RefCell;

use account::{Account, COMMANDS, Requests};
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use tollgate_limiter::{Command, Limit, Span};

#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const REMEMBERED: Span = Span::from_secs(60);
/// Resources whose state a snapshot shares.
const SHARED: usize = 20_000;
/// As many entries as it takes until a resource remembers as many permits as it may.
const UNTIL_STEADY: usize = 2_000;

/// Of the standard table, in the units in which medians are printed here.
const TARGETS: &str = "\
Targets:
  acquire, 1 limit: at most 19.2 µs an entry, which is 300 ns a command, or at least 3.33 Mitem/s
  acquire, 4 limits: at most 51.2 µs an entry, which is 800 ns a command, or at least 1.25 Mitem/s
  create_10_000_resources, 1 limit: max alloc at most 10.24 MB, which is 1 KiB a resource";

fn main() {
    divan::main();
    // Whoever only tests that it runs has no figures to compare.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("{TARGETS}");
    }
}

/// One resource whose permits are not remembered.
#[divan::bench(args = [1, 4])]
fn acquire(bencher: Bencher, limits: usize) {
    let account = Account::new(1, &limits_of(limits), Span::ZERO);
    measure(bencher, account, Requests::of(1), UNTIL_STEADY);
}

/// One resource whose permits can be settled for a minute, as is the default: the youngest 100,000.
#[divan::bench(args = [1, 4])]
fn acquire_remembered(bencher: Bencher, limits: usize) {
    let account = Account::new(1, &limits_of(limits), REMEMBERED);
    measure(bencher, account, Requests::of(1), UNTIL_STEADY);
}

/// The same with request ids, of which a million are remembered.
#[divan::bench(args = [1, 4])]
fn acquire_with_a_request_id(bencher: Bencher, limits: usize) {
    let account = Account::new(1, &limits_of(limits), REMEMBERED);
    measure(bencher, account, Requests::of(1).with_ids(), 1_100_000 / COMMANDS);
}

/// One resource after the other.
#[divan::bench(args = [1, 100, 10_000, 100_000])]
fn acquire_of_many_resources(bencher: Bencher, resources: usize) {
    let account = Account::new(resources, &account::one_limit(), Span::ZERO);
    measure(bencher, account, Requests::of(resources), UNTIL_STEADY);
}

/// Each of 20,000 resources once, right after a copy of the state was made for a snapshot: what both share is copied by
/// whoever changes it first. The second is without a copy.
#[divan::bench(args = [true, false], sample_count = 5, sample_size = 1)]
fn acquire_after_a_copy(bencher: Bencher, is_copied: bool) {
    let account = Account::new(SHARED, &account::one_limit(), REMEMBERED);
    let (account, requests) = (RefCell::new(account), RefCell::new(Requests::of(SHARED)));
    let entries = SHARED.div_ceil(COMMANDS);
    account.borrow_mut().grant(3 * entries, &mut requests.borrow_mut());
    bencher
        .counter(ItemsCount::new(entries * COMMANDS))
        .with_inputs(|| {
            let copy = is_copied.then(|| account.borrow().limiter.clone());
            let mut requests = requests.borrow_mut();
            (copy, (0..entries).map(|_| requests.entry()).collect::<Vec<_>>())
        })
        .bench_local_refs(|(_, entries)| {
            entries.iter().for_each(|entry| {
                account.borrow_mut().apply(entry);
            });
        });
}

/// A slot is taken and released, by two entries: `items` are pairs.
#[divan::bench]
fn acquire_and_release_a_slot(bencher: Bencher) {
    let mut account = Account::new(1, &account::slots(), REMEMBERED);
    let mut requests = Requests::of(1);
    let mut releases: Vec<Command> = Vec::with_capacity(COMMANDS);
    bencher.counter(ItemsCount::new(COMMANDS)).with_inputs(|| requests.entry()).bench_local_refs(|entry| {
        releases.clear();
        releases.extend(account::granted(account.apply(entry)).map(account::release));
        account.apply(&releases);
    });
}

/// What is refused in the log. The leader refuses most without it: [`refuse`].
#[divan::bench]
fn deny(bencher: Bencher) {
    let mut requests = Requests::of(1);
    let mut account = Account::new(1, &account::exhausted(), REMEMBERED);
    account.apply(&[requests.request().into()]);
    bencher.counter(ItemsCount::new(COMMANDS)).with_inputs(|| requests.entry()).bench_local_refs(|entry| {
        account.apply(entry);
    });
}

/// What the leader tells by its state alone.
#[divan::bench]
fn refuse(bencher: Bencher) {
    let mut account = Account::new(1, &account::exhausted(), REMEMBERED);
    let request = Command::from(Requests::of(1).request());
    account.apply(std::slice::from_ref(&request));
    let now = account.limiter.now();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| account.limiter.refuse(now, &request));
}

/// `max alloc` divided by the number is what an idle resource takes.
#[divan::bench(args = [1, 4], sample_count = 3, sample_size = 1)]
fn create_10_000_resources(bencher: Bencher, limits: usize) {
    let limits = limits_of(limits);
    let bencher = bencher.counter(ItemsCount::new(10_000usize));
    bencher.bench_local(|| Account::new(10_000, &limits, REMEMBERED));
}

fn limits_of(count: usize) -> Vec<Limit> {
    if count == 1 { account::one_limit() } else { account::four_limits() }
}

/// Entries of requests, after so many that warm up.
fn measure(bencher: Bencher, mut account: Account, mut requests: Requests, warm_up: usize) {
    account.grant(warm_up, &mut requests);
    bencher.counter(ItemsCount::new(COMMANDS)).with_inputs(|| requests.entry()).bench_local_refs(|entry| {
        account.apply(entry);
    });
}
