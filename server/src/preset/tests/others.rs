//! Recorded answers of the other vendors that the same fleets call.

use super::{
    amount,
    recorded::{assert_limited, assert_not_limited, exhausted, left, read, resets_in_ms},
};
use crate::preset::Presets;

const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests";

#[test]
fn openai() {
    let head = "
        HTTP/1.1 200 OK
        x-ratelimit-limit-requests: 60
        x-ratelimit-limit-tokens: 150000
        x-ratelimit-remaining-requests: 59
        x-ratelimit-remaining-tokens: 149984
        x-ratelimit-reset-requests: 12ms
        x-ratelimit-reset-tokens: 6m0s";
    let report = read("openai", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "requests"), (Some(59), Some(60)));
    assert_eq!(left(&report, "tokens"), (Some(149_984), Some(150_000)));
    assert_eq!(
        (resets_in_ms(&report, "requests"), resets_in_ms(&report, "tokens")),
        (Some(12), Some(360_000))
    );

    let head = format!("{TOO_MANY}\nretry-after: 1\nretry-after-ms: 2000\nx-ratelimit-remaining-requests: 9");
    assert_limited(&read("openai", &head, "rate_limit_exceeded"), Some(2));
    assert_limited(&read("openai", TOO_MANY, ""), None);
    // No money left: waiting does not help.
    assert_not_limited(&read("openai", TOO_MANY, "insufficient_quota"));

    // A day's requests, where a source says them.
    let daily = |plan: &str| {
        let (_, plan) = Presets::embedded().select(plan).unwrap();
        plan.limits.iter().find(|limit| limit.name == "requests-daily").map(amount)
    };
    assert_eq!(daily("openai:tier-1-mini"), Some(10_000));
    assert_eq!((daily("openai:free"), daily("openai:tier-1")), (Some(200), None));
}

#[test]
fn anthropic() {
    let head = "
        HTTP/1.1 429 Too Many Requests
        retry-after: 12
        anthropic-ratelimit-requests-limit: 50
        anthropic-ratelimit-requests-remaining: 48
        anthropic-ratelimit-requests-reset: 2026-11-22T10:00:03Z
        anthropic-ratelimit-input-tokens-limit: 30000
        anthropic-ratelimit-input-tokens-remaining: 0
        anthropic-ratelimit-input-tokens-reset: 2026-11-22T10:00:14Z
        anthropic-ratelimit-output-tokens-limit: 8000
        anthropic-ratelimit-output-tokens-remaining: 7200
        anthropic-ratelimit-output-tokens-reset: 2026-11-22T10:01:00Z";
    let report = read("anthropic", head, "rate_limit_error");
    // Longer than Retry-After: until what is used up is there again.
    assert_limited(&report, Some(14));
    assert_eq!(exhausted(&report), ["input-tokens"]);
    assert_eq!(left(&report, "output-tokens"), (Some(7_200), Some(8_000)));
    assert_limited(&read("anthropic", "HTTP/1.1 529 Overloaded", "overloaded_error"), None);
}

#[test]
fn stripe() {
    let limited = |reason: &str| {
        read("stripe", &format!("{TOO_MANY}\nStripe-Rate-Limited-Reason: {reason}"), "rate_limit")
    };
    for (reason, limit) in
        [("global-rate", Some("global")), ("endpoint-rate", None), ("global-concurrency", None)]
    {
        let report = limited(reason);
        assert_limited(&report, None);
        assert_eq!(exhausted(&report), Vec::from_iter(limit), "{reason}");
    }
    assert_limited(&limited("endpoint-concurrency"), None);
    assert_limited(&limited("resource-specific"), None);
    // Without a reason it is a lock that somebody else holds.
    assert_not_limited(&read("stripe", TOO_MANY, "lock_timeout"));

    // What endpoints have of their own is the same in sandboxes.
    for (plan, global) in [("stripe:live", 100), ("stripe:sandbox", 25)] {
        let (_, plan) = Presets::embedded().select(plan).unwrap();
        let amounts: Vec<_> = plan.limits.iter().map(|limit| (limit.name.as_str(), amount(limit))).collect();
        let of_endpoints =
            [("search", 20), ("files-read", 20), ("files-write", 20), ("payment-intent-updates", 25)];
        assert_eq!(amounts[0], ("global", global));
        assert_eq!(amounts[1..5], of_endpoints);
        assert_eq!(amounts[5..], [("payment-intent", 1_000)]);
    }
}

#[test]
fn github() {
    let head = "
        HTTP/1.1 200 OK
        x-ratelimit-limit: 5000
        x-ratelimit-remaining: 4999
        x-ratelimit-used: 1
        x-ratelimit-reset: 1795343400
        x-ratelimit-resource: core";
    let report = read("github", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "hourly"), (Some(4_999), Some(5_000)));
    assert_eq!(resets_in_ms(&report, "hourly"), Some(1_800_000));

    // The same headers, of the searches.
    let report =
        read("github", &head.replace("core", "search").replace("5000", "30").replace("4999", "18"), "");
    assert_eq!((left(&report, "search"), left(&report, "hourly")), ((Some(18), Some(30)), (None, None)));

    let head = "
        HTTP/1.1 403 Forbidden
        x-ratelimit-limit: 5000
        x-ratelimit-remaining: 0
        x-ratelimit-reset: 1795343400
        x-ratelimit-resource: core";
    assert_limited(&read("github", head, ""), Some(1_800));
    // A secondary limit, passed on as it came.
    let head = "HTTP/1.1 403 Forbidden\nRetry-After: 75\nx-ratelimit-remaining: 4871";
    assert_limited(&read("github", head, ""), Some(75));
    assert_limited(&read("github", "HTTP/1.1 403 Forbidden", "secondary_rate_limit"), Some(60));
    assert_not_limited(&read("github", "HTTP/1.1 403 Forbidden\nx-ratelimit-remaining: 17", ""));
}

#[test]
fn shopify() {
    let report = read("shopify", "HTTP/1.1 200 OK\nX-Shopify-Shop-Api-Call-Limit: 32/40", "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "rest"), (Some(8), Some(40)));
    let head = format!("{TOO_MANY}\nX-Shopify-Shop-Api-Call-Limit: 40/40\nRetry-After: 2.0");
    assert_limited(&read("shopify", &head, ""), Some(2));
    let report = read("shopify", "HTTP/1.1 200 OK", "THROTTLED");
    assert_limited(&report, None);
    assert_eq!(exhausted(&report), ["graphql"]);
}

#[test]
fn slack_notion_microsoft_graph_and_google() {
    for vendor in ["slack", "notion", "microsoft-graph", "google"] {
        assert_limited(&read(vendor, &format!("{TOO_MANY}\nRetry-After: 30"), ""), Some(30));
        assert_not_limited(&read(vendor, "HTTP/1.1 403 Forbidden", "forbidden"));
    }
    assert_limited(&read("notion", "HTTP/1.1 529 Overloaded\nRetry-After: 5", ""), Some(5));
    for vendor in ["microsoft-graph", "zendesk"] {
        assert_limited(&read(vendor, "HTTP/1.1 503 Service Unavailable\nRetry-After: 9", ""), Some(9));
        // An outage, which the circuit is for.
        assert_not_limited(&read(vendor, "HTTP/1.1 503 Service Unavailable", ""));
    }
    for code in ["rateLimitExceeded", "userRateLimitExceeded"] {
        assert_limited(&read("google", "HTTP/1.1 403 Forbidden", code), None);
    }
}

#[test]
fn zendesk() {
    let head = "
        HTTP/1.1 200 OK
        x-rate-limit: 700
        ratelimit-limit: 700
        x-rate-limit-remaining: 699
        ratelimit-remaining: 699
        ratelimit-reset: 41
        zendesk-ratelimit-tickets-index: total=100; remaining=99; resets=41";
    let report = read("zendesk", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "minute"), (Some(699), Some(700)));
    assert_eq!(left(&report, "tickets-index"), (Some(99), Some(100)));
    assert_eq!(resets_in_ms(&report, "minute"), Some(41_000));
    assert_eq!(resets_in_ms(&report, "tickets-index"), Some(41_000));
    assert_limited(
        &read("zendesk", &format!("{TOO_MANY}\nRetry-After: 17\nx-rate-limit-remaining: 0"), ""),
        Some(17),
    );
}

#[test]
fn intercom() {
    let head = "
        HTTP/1.1 429 Too Many Requests
        X-RateLimit-Limit: 1666
        X-RateLimit-Remaining: 0
        X-RateLimit-Reset: 1795341607";
    assert_limited(&read("intercom", head, "rate_limit_exceeded"), Some(7));
}

#[test]
fn airtable() {
    assert_limited(&read("airtable", TOO_MANY, "RATE_LIMIT_REACHED"), Some(30));
}
