//! What a request says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{StatusCode, request::Parts};

/// How long the call is to take, in milliseconds by the caller's clock. Default: what the profile says.
pub const TAKES_HEADER: &str = "x-mock-takes-ms";

/// A word by which the ledger knows the call again. Default: empty.
pub const LABEL_HEADER: &str = "x-mock-label";

/// Before when its caller says that the call arrives, in milliseconds since 1970. Default: it does not say.
pub const BEFORE_HEADER: &str = "x-mock-before-ms";

/// What a request asks for, as far as any of the vendors minds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    /// Of a list; 1 if the query does not say.
    pub page: u64,
    pub takes: Option<Duration>,
    pub label: String,
    pub before: Option<SystemTime>,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// The answer to one that makes no sense, and the field that does not.
    pub fn read(parts: &Parts) -> Result<Asked, (StatusCode, String)> {
        let wrong = |field: &str| (StatusCode::BAD_REQUEST, format!("{field}: must be a whole number"));
        let query = parts.uri.query().unwrap_or_default();
        let page = query.split('&').find_map(|pair| pair.strip_prefix("page="));
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let millis = |name| {
            let value = header(name).map(str::parse).transpose().map_err(|_| wrong(name))?;
            Ok(value.map(Duration::from_millis))
        };
        Ok(Asked {
            path: parts.uri.path().to_owned(),
            page: page.map_or(Ok(1), str::parse).map_err(|_| wrong("page"))?,
            takes: millis(TAKES_HEADER)?,
            label: header(LABEL_HEADER).unwrap_or_default().to_owned(),
            before: millis(BEFORE_HEADER)?.map(|since| UNIX_EPOCH + since),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(uri: &str, takes: &str) -> Result<Asked, (StatusCode, String)> {
        let request = Request::get(uri).header(TAKES_HEADER, takes).header(LABEL_HEADER, "crm");
        Asked::read(&request.header(BEFORE_HEADER, "1500").body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_says_its_page_its_time_and_its_label() {
        let asked = read("/v2/people.json?per_page=100&page=151", "20").unwrap();
        let takes = Some(Duration::from_millis(20));
        let before = Some(UNIX_EPOCH + Duration::from_millis(1_500));
        let expected =
            Asked { path: "/v2/people.json".into(), page: 151, takes, label: "crm".into(), before };
        assert_eq!(asked, expected);
        assert_eq!(read("/v2/people.json", "1").unwrap().page, 1);
    }

    #[test]
    fn a_field_that_makes_no_sense_is_named() {
        for (uri, takes, field) in [("/?page=two", "1", "page"), ("/", "soon", TAKES_HEADER)] {
            let (status, message) = read(uri, takes).unwrap_err();
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(message.starts_with(field), "{message}");
        }
    }
}
