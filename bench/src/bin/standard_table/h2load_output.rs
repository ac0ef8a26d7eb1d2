//! What h2load prints of a run.

/// A run in which every request was answered with status 200. Whether it was granted, h2load cannot see: gRPC says it in the
/// body and in the trailers.
#[derive(Debug, PartialEq)]
pub struct Run {
    pub requests_per_second: f64,
    pub succeeded: u64,
}

impl Run {
    /// Reads what h2load printed; the error is for people.
    pub fn read(printed: &str) -> Result<Run, String> {
        let said_otherwise = || format!("h2load said something else: {printed}");
        let requests_per_second = rate(printed).ok_or_else(said_otherwise)?;
        let requests = |what| count(printed, "requests: ", what).ok_or_else(said_otherwise);
        let (done, succeeded) = (requests(" done")?, requests(" succeeded")?);
        let lost = requests(" failed")? + requests(" errored")? + requests(" timeout")?;
        let with_200 = count(printed, "status codes: ", " 2xx").ok_or_else(said_otherwise)?;
        if succeeded == 0 || lost > 0 || succeeded != done || succeeded != with_200 {
            let lines = printed
                .lines()
                .filter(|line| line.starts_with("requests: ") || line.starts_with("status codes: "));
            return Err(format!("by h2load {}", lines.collect::<Vec<_>>().join("; ")));
        }
        Ok(Run { requests_per_second, succeeded })
    }
}

/// From the line `finished in 1.00s, 45678.00 req/s, 9.87MB/s`.
fn rate(printed: &str) -> Option<f64> {
    let line = printed.lines().find(|line| line.starts_with("finished in"))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()
}

/// From a line such as `status codes: 1101 2xx, 0 3xx, 0 4xx, 183 5xx`.
fn count(printed: &str, line: &str, what: &str) -> Option<u64> {
    let counts = printed.lines().find_map(|printed| printed.strip_prefix(line))?;
    counts.split(", ").find_map(|count| count.strip_suffix(what)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 1.05s, 1284.00 req/s, 39.59KB/s
requests: 1284 total, 1292 started, 1284 done, 1284 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1284 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 39.59KB (40541) total, 2.36KB (2417) headers (space savings 94.47%), 5.38KB (5505) data
";

    #[test]
    fn a_run_without_failures_is_read() {
        assert_eq!(Run::read(PRINTED), Ok(Run { requests_per_second: 1284.0, succeeded: 1284 }));
    }

    #[test]
    fn a_run_with_failures_is_none() {
        for (whole, broken) in [
            ("1284 succeeded, 0 failed", "1101 succeeded, 183 failed"),
            ("0 errored", "8 errored"),
            ("0 timeout", "1 timeout"),
            ("1284 2xx, 0 3xx, 0 4xx, 0 5xx", "1101 2xx, 0 3xx, 0 4xx, 183 5xx"),
        ] {
            let printed = PRINTED.replace(whole, broken);
            assert!(printed != PRINTED, "{whole}");
            let problem = Run::read(&printed).expect_err(broken);
            assert!(problem.starts_with("by h2load requests: 1284 total"), "{problem}");
        }
        let none = PRINTED.replace("1284", "0");
        assert!(Run::read(&none).is_err(), "where nobody listens, h2load ends as if all were well");
        assert!(Run::read("no such host").is_err());
    }
}
