//! What a vendor answered, as far as it speaks of limits.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::{HeaderMap, StatusCode};
use tollgate_proto::v1;

/// Headers that are passed on, at most.
const HEADERS_MAX: usize = 32;

/// Bytes of their names and values, at most.
const HEADERS_BYTES_MAX: usize = 4096;

/// Bytes of an error code, at most.
const ERROR_CODE_BYTES_MAX: usize = 200;

/// Bytes of a body that is passed on. A larger one does not say that a limit was exceeded.
pub(crate) const BODY_BYTES_MAX: usize = 8 << 10;

/// The most that a call can cost, or weigh in a dimension.
const AMOUNT_MAX: u64 = 1_000_000_000_000;

/// What vendors' names for headers that speak of limits have in common: `X-RateLimit-Reset`, `Sforce-Limit-Info`,
/// `x-minute-requests-left`. A header too many does no harm: the server reads those that it knows.
const MARKS: [&str; 7] = ["retry-after", "limit", "requests-left", "quota", "usage", "remaining", "reset"];

/// A vendor's answer to one call, raw: the server knows what it means. Made of a status and headers, as
/// `http::Response`s and (with the feature) reqwest's have them:
///
/// ```
/// use tollgate_client::Answer;
///
/// let answer = Answer::new(403).header("Sforce-Limit-Info", "api-usage=100018/100000").error_code("REQUEST_LIMIT_EXCEEDED");
/// assert_eq!(answer.status(), 403);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    error_code: String,
    body: Vec<u8>,
    spent: Spent,
}

/// What a call truly cost, as far as its caller says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) cost: Option<u64>,
    pub(crate) amounts: BTreeMap<String, u64>,
}

impl Answer {
    /// An answer with this HTTP status, 100 to 599.
    pub fn new(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    /// The status, and of the headers those that may speak of limits.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Answer {
        let text = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let speaks = |(name, _): &(&str, _)| MARKS.iter().any(|mark| name.contains(mark));
        let mut speak: Vec<_> = text.filter(speaks).collect();
        // What says to wait must fit in any case.
        speak.sort_by_key(|(name, _)| !name.starts_with("retry-after"));
        let answer = Answer::new(status.as_u16());
        speak.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value))
    }

    /// A header, its name in any case. Of one that comes several times, all values count. What does not fit any more, beyond 32
    /// headers and 4 KiB, is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        let name = name.to_ascii_lowercase();
        let held: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let joined = self.headers.get(&name).map(|first| format!("{first}, {value}"));
        let is_new = joined.is_none();
        // The name and the comma of one that is there already are counted twice, which errs on the safe side.
        let fits = held + name.len() + value.len() + 2 <= HEADERS_BYTES_MAX;
        if fits && (!is_new || self.headers.len() < HEADERS_MAX) {
            self.headers.insert(name, joined.unwrap_or_else(|| value.to_owned()));
        }
        self
    }

    /// The error code in the body, such as `REQUEST_LIMIT_EXCEEDED`; cut after 200 bytes. Without one the server looks for it
    /// in the [`body`](Answer::body).
    #[must_use]
    pub fn error_code(mut self, code: impl Into<String>) -> Answer {
        self.error_code = code.into();
        while self.error_code.len() > ERROR_CODE_BYTES_MAX {
            self.error_code.pop();
        }
        self
    }

    /// The body, for the server to find the code in: of an answer that is an error, or of one with which the vendor says 200 to what it
    /// refuses, such as Shopify. One over 8 KiB is left out.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        if self.body.len() > BODY_BYTES_MAX {
            self.body = Vec::new();
        }
        self
    }

    /// What the call truly cost, where that differs from the cost of its permit, such as pages that were not known before. The
    /// difference is debited, or given back, when the permit is released. At most 10¹²; more counts as that.
    #[must_use]
    pub fn cost(mut self, cost: u64) -> Answer {
        self.spent.cost = Some(cost.min(AMOUNT_MAX));
        self
    }

    /// What the call truly weighed in one dimension, where that differs from the permit, such as the tokens that a model has written. At
    /// most 10¹²; more counts as that. A dimension that no limit of the resource weighs by is an error, for which the release fails:
    /// then nobody hears of the answer.
    ///
    /// ```no_run
    /// # use tollgate_client::{Answer, CallError, Client, Limiter};
    /// # struct Reply { text: String, written: u64 }
    /// # async fn complete(prompt: &str) -> Result<Reply, Answer> { Err(Answer::new(503)) }
    /// # async fn example(client: Client) -> Result<(), CallError<Answer>> {
    /// let limiter = Limiter::new(client.clone()).vendor("openai");
    /// // As many as it may write at most; what it does not write is given back.
    /// let request = client.acquire("openai/acme").operation("chat").amount("output_tokens", 4_000);
    /// let (_, reply) = limiter
    ///     .call(request, |_permit| async {
    ///         let reply = complete("a haiku on queues").await?;
    ///         Ok((Answer::new(200).amount("output_tokens", reply.written), reply))
    ///     })
    ///     .await?;
    /// println!("{}", reply.text);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn amount(mut self, dimension: impl Into<String>, amount: u64) -> Answer {
        self.spent.amounts.insert(dimension.into(), amount.min(AMOUNT_MAX));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What `Retry-After` says, `at` being now: seconds or a date, the two forms of HTTP. Vendors' own forms are the server's to
    /// read. None: there is none, or it is in another form.
    pub(crate) fn retry_after(&self, at: std::time::SystemTime) -> Option<Duration> {
        let text = self.headers.get("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        Some(httpdate::parse_http_date(text).ok()?.duration_since(at).unwrap_or_default())
    }

    /// Whether it says nothing but that the call was served: no preset finds a refusal in it.
    pub(crate) fn is_plain_success(&self) -> bool {
        let says_more = !(self.headers.is_empty() && self.error_code.is_empty() && self.body.is_empty());
        (200..300).contains(&self.status) && !says_more
    }

    pub(crate) fn spent(&self) -> &Spent {
        &self.spent
    }

    /// As the server takes it, without what the call cost. `vendor` names the preset that reads it.
    pub(crate) fn into_feedback(self, vendor: &str) -> v1::VendorFeedback {
        v1::VendorFeedback {
            status: self.status.into(),
            headers: self.headers.into_iter().collect(),
            error_code: self.error_code,
            vendor: vendor.to_owned(),
            body: self.body,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the vendor answered {}", self.status)?;
        match self.error_code.as_str() {
            "" => Ok(()),
            code => write!(f, " {code}"),
        }
    }
}

/// An answer that is an error can be returned as one.
impl std::error::Error for Answer {}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use http::HeaderName;

    use super::*;

    #[test]
    fn every_header_of_a_preset_is_passed_on() {
        let presets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../server/presets");
        let mut names = 0;
        for file in std::fs::read_dir(presets).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let mut lines = text.lines();
            while lines.any(|line| line == "[[header]]") {
                let name = lines.next().and_then(|line| line.strip_prefix("name = \"")).unwrap();
                let name: HeaderName = name.trim_end_matches('"').parse().unwrap();
                let headers = HeaderMap::from_iter([(name.clone(), "7".parse().unwrap())]);
                let answer = Answer::of(StatusCode::OK, &headers);
                assert!(answer.headers.contains_key(name.as_str()), "{name}");
                names += 1;
            }
        }
        assert!(names > 40, "{names}");
    }

    #[test]
    fn the_server_takes_whatever_a_vendor_sends() {
        let mut headers = HeaderMap::new();
        for n in 0..100 {
            let name: HeaderName = format!("x-ratelimit-{n}").parse().unwrap();
            headers.append(name, "v".repeat(n).parse().unwrap());
        }
        headers.append("x-request-id", "1".parse().unwrap());
        headers.append("Retry-After", "7".parse().unwrap());
        headers.append("x-ratelimit-raw", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let answer = Answer::of(StatusCode::TOO_MANY_REQUESTS, &headers);
        let answer = answer.error_code("é".repeat(200)).body(vec![0; BODY_BYTES_MAX + 1]);
        assert_eq!(answer.retry_after(UNIX_EPOCH), Some(Duration::from_secs(7)), "it comes first");
        let feedback = answer.into_feedback("hubspot");
        let bytes: usize = feedback.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!((30..=HEADERS_MAX).contains(&feedback.headers.len()) && bytes <= HEADERS_BYTES_MAX);
        assert!(!feedback.headers.contains_key("x-request-id"));
        assert_eq!((feedback.error_code.len(), feedback.body.len()), (200, 0));
    }

    #[test]
    fn a_header_that_comes_twice_is_whole() {
        let answer = Answer::new(200).header("X-Usage", "1/2").header("x-usage", "3/4");
        assert_eq!(answer.headers["x-usage"], "1/2, 3/4");
    }

    #[test]
    fn retry_after_is_read_as_http_defines_it() {
        let now: SystemTime = httpdate::parse_http_date("Sun, 22 Nov 2026 10:15:00 GMT").unwrap();
        let minute = Some(Duration::from_secs(60));
        for (text, wait) in [
            ("60", minute),
            (" 60 ", minute),
            ("Sun, 22 Nov 2026 10:16:00 GMT", minute),
            ("Sun, 22 Nov 2026 10:14:00 GMT", Some(Duration::ZERO)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(Answer::new(429).header("Retry-After", text).retry_after(now), wait, "{text:?}");
        }
        assert_eq!(Answer::new(429).retry_after(now), None);
    }
}
