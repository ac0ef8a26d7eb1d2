//! Each vendor as a caller sees it, by a clock that stands still unless somebody waits.

use std::{io, sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tower::ServiceExt;

use crate::{
    Answer, Apollo, HubSpot, MockVendor, Outage, Profile, Salesforce, Salesloft, TAKES_HEADER, Tightening,
    serve::router, vendor::Vendor,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a caller was told.
struct Told {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of this crate"))
    }
}

fn vendor(profile: impl Into<Profile>) -> Arc<Vendor> {
    Arc::new(Vendor::new(profile.into().with_latency(Duration::ZERO..=Duration::ZERO)))
}

async fn call(vendor: &Arc<Vendor>, uri: &str) -> Told {
    call_for(vendor, uri, Duration::ZERO).await
}

async fn call_for(vendor: &Arc<Vendor>, uri: &str, takes: Duration) -> Told {
    let takes = takes.as_millis().to_string();
    let request = Request::get(uri).header(TAKES_HEADER, takes).body(Body::empty()).expect("a request");
    let response = router(vendor.clone()).oneshot(request).await.expect("the router answers always");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 65_536).await.expect("a short body");
    let body = serde_json::from_slice(&body).expect("all bodies are JSON");
    Told { status: parts.status, headers: parts.headers, body }
}

/// Calls until it is refused: how many were let in, and the refusal.
async fn exhaust(vendor: &Arc<Vendor>, uri: &str) -> (usize, Told) {
    for accepted in 0.. {
        let told = call(vendor, uri).await;
        if told.status != StatusCode::OK {
            return (accepted, told);
        }
    }
    unreachable!("some limit has an end")
}

#[tokio::test(start_paused = true)]
async fn hubspot_counts_any_ten_seconds_and_names_its_policy() {
    let vendor = vendor(HubSpot::PROFESSIONAL);
    let first = call(&vendor, "/crm/v3/objects/contacts").await;
    assert_eq!(first.header("X-HubSpot-RateLimit-Max"), Some("190"));
    assert_eq!(first.header("X-HubSpot-RateLimit-Remaining"), Some("189"));
    assert_eq!(first.header("X-HubSpot-RateLimit-Daily-Remaining"), Some("624999"));

    sleep(SECOND * 9).await;
    let (accepted, refusal) = exhaust(&vendor, "/crm/v3/objects/contacts").await;
    assert_eq!((accepted, refusal.status), (189, StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(refusal.body["policyName"], "TEN_SECONDLY_ROLLING");
    assert_eq!(refusal.header("X-HubSpot-RateLimit-Remaining"), Some("0"));
    // Only the first call is older than ten seconds by then.
    sleep(SECOND + Duration::from_millis(1)).await;
    assert_eq!(exhaust(&vendor, "/crm/v3/objects/contacts").await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn hubspot_limits_searches_more_and_tells_nothing_with_them() {
    let vendor = vendor(HubSpot::PROFESSIONAL);
    let (accepted, refusal) = exhaust(&vendor, "/crm/v3/objects/contacts/search").await;
    assert_eq!((accepted, refusal.header("X-HubSpot-RateLimit-Max")), (5, None));
    assert_eq!(call(&vendor, "/crm/v3/objects/contacts").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn hubspots_day_ends_at_midnight() {
    let vendor = vendor(HubSpot { daily: 3, midnight_in: SECOND * 60, ..HubSpot::PROFESSIONAL });
    sleep(SECOND * 59).await;
    let (accepted, refusal) = exhaust(&vendor, "/").await;
    assert_eq!((accepted, &refusal.body["policyName"]), (3, &"DAILY".into()));
    sleep(SECOND).await;
    assert_eq!(exhaust(&vendor, "/").await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn salesforce_lets_in_no_call_beside_25_long_ones() {
    let vendor = vendor(Salesforce::ENTERPRISE);
    let long: Vec<_> = (0..26)
        .map(|_| {
            let vendor = vendor.clone();
            tokio::spawn(async move { call_for(&vendor, "/services/data/query", SECOND * 30).await })
        })
        .collect();
    sleep(SECOND * 19).await;
    let short = call(&vendor, "/services/data/query").await;
    assert_eq!(short.header("Sforce-Limit-Info"), Some("api-usage=27/120000"));
    sleep(SECOND * 2).await;
    let refusal = call(&vendor, "/services/data/query").await;
    assert_eq!(refusal.status, StatusCode::FORBIDDEN);
    assert_eq!(refusal.body[0]["errorCode"], "REQUEST_LIMIT_EXCEEDED");
    assert_eq!(refusal.header("Retry-After"), None);

    for call in long {
        assert_eq!(call.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(call(&vendor, "/services/data/query").await.status, StatusCode::OK);
    assert_eq!(vendor.ledger().highest_concurrency, 27);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_when_its_caller_hangs_up() {
    let vendor = vendor(Salesforce { long_calls: 1, ..Salesforce::STRICT });
    let caller = tokio::spawn({
        let vendor = vendor.clone();
        async move { call_for(&vendor, "/", SECOND * 10).await }
    });
    sleep(SECOND).await;
    caller.abort();
    sleep(SECOND * 8).await;
    assert_eq!(call(&vendor, "/").await.status, StatusCode::FORBIDDEN);
    sleep(SECOND * 2).await;
    assert_eq!(call(&vendor, "/").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn salesloft_weighs_pages() {
    for (page, expected) in [(1, 600), (100, 600), (101, 200), (151, 75), (251, 60), (501, 20)] {
        let vendor = vendor(Salesloft::STANDARD);
        let uri = format!("/v2/people.json?per_page=100&page={page}");
        let (accepted, refusal) = exhaust(&vendor, &uri).await;
        assert_eq!((accepted, refusal.status), (expected, StatusCode::TOO_MANY_REQUESTS), "page {page}");
        let cost: usize = refusal.header("x-ratelimit-endpoint-cost").unwrap().parse().unwrap();
        assert_eq!(cost * expected, 600);
        assert_eq!(refusal.header("x-ratelimit-remaining-minute"), Some("0"));
    }
}

#[tokio::test(start_paused = true)]
async fn apollos_windows_open_with_the_first_call_to_each_endpoint() {
    let vendor = vendor(Apollo::FREE);
    sleep(SECOND * 100).await;
    let (accepted, refusal) = exhaust(&vendor, "/v1/people/match").await;
    assert_eq!((accepted, refusal.header("Retry-After")), (50, Some("60")));
    assert_eq!(refusal.header("x-rate-limit-minute"), Some("50"));
    assert_eq!(refusal.header("x-hourly-requests-left"), Some("150"));
    assert_eq!(call(&vendor, "/v1/organizations/enrich").await.status, StatusCode::OK);
    for _ in 0..3 {
        sleep(SECOND * 61).await;
        assert_eq!(exhaust(&vendor, "/v1/people/match").await.0, 50);
    }
    sleep(SECOND * 61).await;
    let (accepted, refusal) = exhaust(&vendor, "/v1/people/match").await;
    assert_eq!((accepted, refusal.header("x-hourly-requests-left")), (0, Some("0")));
    // Of the hour, which began with the first of the calls, four minutes and some seconds are over.
    let left: u64 = refusal.header("Retry-After").unwrap().parse().unwrap();
    assert!((3_300..=3_360).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn apollos_headers_are_empty_without_a_limit() {
    let told = call(&vendor(Apollo::PAID_ENRICHMENT), "/").await;
    assert_eq!(told.header("x-minute-requests-left"), Some("999"));
    assert_eq!(told.header("x-rate-limit-24-hour"), Some(""));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_by_itself_and_is_in_the_ledger() {
    for (outage, status, answered_after) in [
        (Outage::Failing, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO),
        (Outage::Hanging, StatusCode::GATEWAY_TIMEOUT, SECOND * 30),
    ] {
        let vendor = vendor(HubSpot::PROFESSIONAL);
        vendor.fail_for(outage, SECOND * 30);
        let before = vendor.now();
        assert_eq!(call(&vendor, "/").await.status, status);
        assert_eq!((vendor.now() - before).as_secs(), answered_after.as_secs());
        sleep(SECOND * 30).await;
        assert_eq!(call(&vendor, "/").await.status, StatusCode::OK);
        let answers: Vec<_> = vendor.ledger().calls.iter().map(|call| call.answer).collect();
        assert_eq!(answers, [Answer::Down, Answer::Accepted]);
    }
}

/// The status line of an answer, if there is one.
async fn ask(connection: &mut TcpStream) -> io::Result<String> {
    connection.write_all(b"GET / HTTP/1.1\r\nHost: vendor\r\n\r\n").await?;
    let mut answer = [0; 4_096];
    let read = connection.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..read]);
    answer.lines().next().map(str::to_owned).ok_or(io::ErrorKind::ConnectionReset.into())
}

#[tokio::test]
async fn a_vendor_that_refuses_connections_cuts_those_that_it_has() {
    let vendor = MockVendor::start(HubSpot::PROFESSIONAL.into()).await.unwrap();
    let address = vendor.url().trim_start_matches("http://").to_owned();
    let mut connected = TcpStream::connect(&address).await.unwrap();
    assert_eq!(ask(&mut connected).await.unwrap(), "HTTP/1.1 200 OK");

    vendor.fail_for(Outage::Refusing, SECOND * 3_600);
    ask(&mut connected).await.unwrap_err();
    while TcpStream::connect(&address).await.is_ok() {
        sleep(SECOND / 100).await;
    }

    // Another outage in its place, which is over.
    vendor.fail_for(Outage::Failing, Duration::ZERO);
    let mut connected = loop {
        match TcpStream::connect(&address).await {
            Ok(connected) => break connected,
            Err(_) => sleep(SECOND / 100).await,
        }
    };
    assert_eq!(ask(&mut connected).await.unwrap(), "HTTP/1.1 200 OK");
}

#[tokio::test(start_paused = true)]
async fn limits_can_be_tightened_in_silence() {
    let hubspot = vendor(HubSpot::PROFESSIONAL);
    hubspot.tighten(Tightening { percent: 50, told: false });
    let (accepted, refusal) = exhaust(&hubspot, "/").await;
    assert_eq!((accepted, refusal.header("X-HubSpot-RateLimit-Max")), (95, Some("190")));

    let apollo = vendor(Apollo::FREE);
    apollo.tighten(Tightening { percent: 50, told: true });
    let (accepted, refusal) = exhaust(&apollo, "/").await;
    assert_eq!((accepted, refusal.header("x-rate-limit-minute")), (25, Some("25")));
}

#[tokio::test(start_paused = true)]
async fn a_faster_clock_shortens_windows_and_keeps_amounts() {
    let vendor = vendor(Profile::from(HubSpot::PROFESSIONAL).faster(10));
    assert_eq!(exhaust(&vendor, "/").await.0, 190);
    sleep(SECOND + Duration::from_millis(1)).await;
    assert_eq!(exhaust(&vendor, "/").await.0, 190);
}

#[tokio::test(start_paused = true)]
async fn what_was_used_is_a_share_of_what_could_have_been_had() {
    let hubspot = vendor(HubSpot::PROFESSIONAL);
    for _ in 0..38 {
        call(&hubspot, "/").await;
        sleep(SECOND).await;
    }
    // Three windows with a call each second, where nineteen were allowed.
    let share = hubspot.share_used(&(Duration::ZERO..SECOND * 100)).unwrap();
    assert!((share - 1.0 / 19.0).abs() < 0.001, "{share}");
    assert_eq!(hubspot.share_used(&(Duration::ZERO..SECOND * 9)), None);

    let salesforce = vendor(Salesforce::STRICT);
    call_for(&salesforce, "/", SECOND * 10).await;
    assert_eq!(salesforce.share_used(&(Duration::ZERO..SECOND * 20)), Some(10.0 / (25.0 * 20.0)));
}
