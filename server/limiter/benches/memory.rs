//! What one of each thing takes of memory: what the table in docs/OPERATIONS.md is worked out from.
//!
//! `just bench-memory` runs it.

#[expect(dead_code, reason = "some of it is for what measures time")]
mod account;

use account::{Account, COMMANDS, Requests};
use tollgate_limiter::{
    CoalesceKey, Command, Label, Limit, LimitKind, LimitName, Resource, Scope, SlidingWindow, Span,
    TokenBucket,
};

const PERMITS: usize = 64_000;
/// Scope values, each of which has its turn once in as many milliseconds.
const VALUES: usize = 200;
const MINUTE: Span = Span::from_secs(60);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (name, limits) in [("1 limit", account::one_limit()), ("4 limits", account::four_limits())] {
        let resources =
            report(&format!("resource, {name}"), 10_000, || Account::new(10_000, &limits, MINUTE));
        encoded(&resources, 10_000);
        let mut account = Account::new(1, &limits, Span::from_secs(3_600));
        report(&format!("permit that can be settled, {name}"), PERMITS, || {
            account.grant(PERMITS / COMMANDS, &mut Requests::of(1));
        });
        encoded(&account, PERMITS);
    }
    let many: Vec<_> = (0..Resource::MAX_LIMITS).map(limit).collect();
    let mut account = Account::new(1, &many, Span::from_secs(3_600));
    report("permit that can be settled, 32 limits, names of 200 bytes", PERMITS, || {
        let mut requests = Requests::of(1);
        for _ in 0..PERMITS {
            let mut acquire = requests.request();
            let long = || Label::new(&"x".repeat(200)).expect("a valid label");
            (acquire.operation, acquire.consumer, acquire.subject) = (long(), long(), long());
            account.apply(&[Command::from(acquire)]);
        }
    });
    let mut account = Account::new(1, &account::one_limit(), Span::ZERO);
    report("request id of 36 bytes", PERMITS, || {
        account.grant(PERMITS / COMMANDS, &mut Requests::of(1).with_ids());
    });
    encoded(&account, PERMITS);
    let mut account = Account::new(PERMITS / 1_000, &account::slots(), Span::ZERO);
    report("permit with a lease and a slot", PERMITS, || {
        account.grant(PERMITS / COMMANDS, &mut Requests::of(PERMITS / 1_000));
    });
    encoded(&account, PERMITS);
    let mut account = Account::new(PERMITS / 1_000, &account::slots(), Span::ZERO);
    report("permit with a lease, a slot and a coalesce key of 36 bytes", PERMITS, || {
        let mut requests = Requests::of(PERMITS / 1_000);
        for number in 0..PERMITS {
            let mut acquire = requests.request();
            let key = CoalesceKey::new(&format!("{number:036}")).expect("a valid key");
            acquire.coalesce_key = Some(key);
            account.apply(&[Command::from(acquire)]);
        }
    });
    let slow = TokenBucket { capacity: 1_000, refill_amount: 1, refill_period: MINUTE };
    counters("token bucket, once", LimitKind::TokenBucket(slow), 36, 1);
    counters("token bucket, 64 times", LimitKind::TokenBucket(slow), 36, 64);
    counters("token bucket, 64 times, values of 200 bytes", LimitKind::TokenBucket(slow), 200, 64);
    counters("window of a day, once", account::four_limits()[2].kind.clone(), 36, 1);
    for resolution in [20, 100, 1_000] {
        // One sub-bucket for each time.
        let period = Span::from_millis(u64::from(resolution) * VALUES as u64);
        let window = SlidingWindow { amount: 1_000_000, period, resolution };
        let name = format!("sliding window, resolution {resolution}, wholly used");
        counters(&name, LimitKind::SlidingWindow(window), 36, 2 * resolution as usize);
    }
}

fn limit(number: usize) -> Limit {
    Limit {
        name: LimitName::new(&format!("limit-{number}")).expect("a valid name"),
        ..account::one_limit().remove(0)
    }
}

/// Counters by consumer, whose names are so long, each debited so many times.
fn counters(name: &str, kind: LimitKind, length: usize, times: usize) {
    let limit =
        Limit { scope: Scope::Consumer, max_scope_values: 1_000_000, kind, ..account::one_limit().remove(0) };
    let mut account = Account::new(1, &[limit], Span::ZERO);
    report(&format!("counter: {name}"), VALUES, || {
        let mut requests = Requests::of(1);
        for _ in 0..times {
            // In no order: 7,919 is a prime.
            for number in (0..VALUES).map(|number| number * 7_919 % VALUES) {
                let mut acquire = requests.request();
                acquire.consumer = Label::new(&format!("{number:0length$}")).expect("a valid label");
                account.apply(&[Command::from(acquire)]);
            }
        }
    });
    encoded(&account, VALUES);
}

/// Of all that was reported of an account so far.
fn encoded(account: &Account, items: usize) {
    println!("{:>8} bytes in a snapshot", account.limiter.encode().len() / items);
}

fn report<T>(name: &str, items: usize, fill: impl FnOnce() -> T) -> T {
    let mut filled = None;
    let measured = allocation_counter::measure(|| filled = Some(fill()));
    let bytes = measured.bytes_current / items as i64;
    println!("{bytes:>8} bytes: {name}");
    filled.expect("it was filled")
}
