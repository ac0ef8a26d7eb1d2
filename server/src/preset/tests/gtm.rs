//! Recorded answers of the vendors of sales and marketing.

use super::recorded::{assert_limited, assert_not_limited, exhausted, left, read, resets_in_ms};

#[test]
fn hubspot() {
    let head = "
        HTTP/1.1 200 OK
        X-HubSpot-RateLimit-Daily: 625000
        X-HubSpot-RateLimit-Daily-Remaining: 624917
        X-HubSpot-RateLimit-Interval-Milliseconds: 10000
        X-HubSpot-RateLimit-Max: 190
        X-HubSpot-RateLimit-Remaining: 187
        X-HubSpot-RateLimit-Secondly: 19
        X-HubSpot-RateLimit-Secondly-Remaining: 18";
    let report = read("hubspot", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "daily"), (Some(624_917), Some(625_000)));
    assert_eq!(left(&report, "ten-seconds"), (Some(187), Some(190)));

    // With OAuth there is nothing about the day.
    let head = "
        HTTP/1.1 200 OK
        X-HubSpot-RateLimit-Interval-Milliseconds: 10000
        X-HubSpot-RateLimit-Max: 110
        X-HubSpot-RateLimit-Remaining: 0";
    let report = read("hubspot", head, "");
    assert_not_limited(&report);
    assert_eq!((left(&report, "daily"), exhausted(&report)), ((None, None), vec!["ten-seconds"]));

    // An interval that is not ten seconds is about something else.
    let report = read("hubspot", &head.replace("10000", "1000"), "");
    assert!(report.standings.is_empty(), "{report:?}");

    // Searches have no headers; the body's policyName says which limit it was.
    let report = read("hubspot", "HTTP/1.1 429 Too Many Requests", "TEN_SECONDLY_ROLLING");
    assert_limited(&report, None);
    assert_eq!(exhausted(&report), ["ten-seconds"]);
    let report = read("hubspot", "HTTP/1.1 429 Too Many Requests", "DAILY");
    assert_eq!(exhausted(&report), ["daily"]);
    assert_limited(&read("hubspot", "HTTP/1.1 429 Too Many Requests", ""), None);
    let report = read("hubspot", "HTTP/1.1 429 Too Many Requests", "SECONDLY");
    assert_limited(&report, Some(1));
    assert_eq!(exhausted(&report), ["search"]);

    assert_limited(&read("hubspot", "HTTP/1.1 423 Locked", ""), Some(2));
    assert_limited(&read("hubspot", "HTTP/1.1 477 Migration\nRetry-After: 3600", ""), Some(3_600));
    assert_not_limited(&read("hubspot", "HTTP/1.1 404 Not Found", ""));
}

#[test]
fn salesforce() {
    let report = read("salesforce", "HTTP/1.1 200 OK\nSforce-Limit-Info: api-usage=10018/100000", "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "daily"), (Some(89_982), Some(100_000)));

    let both = "HTTP/1.1 200 OK
        Sforce-Limit-Info: api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)";
    let report = read("salesforce", both, "");
    assert_eq!(left(&report, "daily"), (Some(4_975), Some(5_000)));

    // More than the limit can be used; and there is no Retry-After.
    let beyond = "HTTP/1.1 403 Forbidden\nSforce-Limit-Info: api-usage=100044/100000";
    let report = read("salesforce", beyond, "REQUEST_LIMIT_EXCEEDED");
    assert_limited(&report, None);
    assert_eq!((left(&report, "daily"), exhausted(&report)), ((Some(0), Some(100_000)), vec!["daily"]));

    // Too many long calls: the same code, with the day's quota as it was.
    let report = read(
        "salesforce",
        "HTTP/1.1 403 Forbidden\nSforce-Limit-Info: api-usage=7/100000",
        "REQUEST_LIMIT_EXCEEDED",
    );
    assert_limited(&report, None);
    assert!(exhausted(&report).is_empty());
    assert_not_limited(&read("salesforce", "HTTP/1.1 403 Forbidden", "INSUFFICIENT_ACCESS"));
}

#[test]
fn outreach() {
    let head = "
        HTTP/1.1 200 OK
        X-RateLimit-Limit: 10000
        X-RateLimit-Remaining: 9997
        X-RateLimit-Reset: 1795345200";
    let report = read("outreach", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "hourly"), (Some(9_997), Some(10_000)));
    assert_eq!(resets_in_ms(&report, "hourly"), Some(3_600_000));

    let head = "
        HTTP/1.1 429 Too Many Requests
        Retry-After: 1200
        X-RateLimit-Limit: 10000
        X-RateLimit-Remaining: 0
        X-RateLimit-Reset: 1795342800";
    assert_limited(&read("outreach", head, ""), Some(1_200));

    // Maintenance: an ISO 8601 instant.
    let head = "HTTP/1.1 503 Service Unavailable\nRetry-After: 2026-11-22T10:05:00Z";
    assert_limited(&read("outreach", head, ""), Some(300));
    // Of a proxy before the vendor, say: an outage.
    assert_not_limited(&read("outreach", "HTTP/1.1 503 Service Unavailable", ""));
}

#[test]
fn salesloft() {
    let head = "
        HTTP/1.1 200 OK
        x-ratelimit-endpoint-cost: 10
        x-ratelimit-remaining-minute: 574";
    let report = read("salesloft", head, "");
    assert_not_limited(&report);
    assert_eq!(report.cost, Some(10));
    // What is left is not reliable, so it is not taken for true.
    assert_eq!(left(&report, "minute"), (None, None));

    let report = read("salesloft", "HTTP/1.1 429 Too Many Requests\nx-ratelimit-endpoint-cost: 1", "");
    assert_limited(&report, None);
    assert_eq!(exhausted(&report), ["minute"]);
}

#[test]
fn apollo() {
    let head = "
        HTTP/1.1 200 OK
        x-rate-limit-minute: 50
        x-minute-requests-left: 45
        x-rate-limit-hourly: 200
        x-hourly-requests-left: 95
        x-rate-limit-24-hour: 600
        x-24-hour-requests-left: 295";
    let report = read("apollo", head, "");
    assert_not_limited(&report);
    assert_eq!(left(&report, "minute"), (Some(45), Some(50)));
    assert_eq!(left(&report, "hourly"), (Some(95), Some(200)));
    assert_eq!(left(&report, "daily"), (Some(295), Some(600)));

    // Empty where there is no limit.
    let head = "
        HTTP/1.1 200 OK
        x-rate-limit-minute: 1000
        x-minute-requests-left: 998
        x-rate-limit-hourly:
        x-hourly-requests-left:
        x-rate-limit-24-hour:
        x-24-hour-requests-left:";
    let report = read("apollo", head, "");
    assert_not_limited(&report);
    assert_eq!(report.standings.len(), 1);

    let head = "
        HTTP/1.1 429 Too Many Requests
        retry-after: 42
        x-minute-requests-left: 0
        x-hourly-requests-left: 12";
    let report = read("apollo", head, "");
    assert_limited(&report, Some(42));
    assert_eq!(exhausted(&report), ["minute"]);
}

#[test]
fn linkedin_and_clay() {
    for vendor in ["linkedin", "clay"] {
        assert_limited(&read(vendor, "HTTP/1.1 429 Too Many Requests", ""), None);
        assert_limited(&read(vendor, "HTTP/1.1 429 Too Many Requests\nRetry-After: 7", ""), Some(7));
        assert_not_limited(&read(vendor, "HTTP/1.1 200 OK\nX-RateLimit-Remaining: 0", ""));
    }
}
