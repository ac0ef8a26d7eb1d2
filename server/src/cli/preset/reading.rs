//! `tollgate preset read`: what Tollgate understands of an answer, so that a profile can be tried on real ones.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tollgate_vendors::{Answer, Ignored, Report, Standing};

use super::{
    super::{Failure, Output, duration::human, failure::Code, output::seconds, table::thousands},
    Own, select,
};
use crate::clock;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The preset whose profile reads it, such as hubspot.
    name: String,

    /// The answer's status line and headers, as `curl --include` prints them [default: standard input].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The error code in its body, such as REQUEST_LIMIT_EXCEEDED; `preset show` tells where that is.
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    code: String,

    /// When it came, such as 2026-11-22T10:00:00Z [default: now].
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,

    #[command(flatten)]
    own: Own,
}

pub fn run(output: Output, args: Args) -> Result<(), Failure> {
    let presets = args.own.presets()?;
    let (preset, _) = select(&presets, &args.name)?;
    let bytes = match &args.file {
        Some(path) => fs::read(path).map_err(|error| unreadable(&path.display().to_string(), error))?,
        None => standard_input().map_err(|error| unreadable("standard input", error))?,
    };
    let (status, headers) = head(&bytes).ok_or_else(|| {
        Failure::with(Code::Usage, "the answer does not begin with a status line such as HTTP/1.1 429")
            .advise("`curl --include` or `curl --head` prints one.")
    })?;
    let at = args.at.unwrap_or_else(now);
    let report = preset.profile.read(&Answer { status, headers: &headers, code: &args.code }, at);
    output.print(|| text(&report), || json(&report))
}

fn standard_input() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(what: &str, error: io::Error) -> Failure {
    Failure::new(format!("cannot read {what}: {error}"))
}

fn now() -> Timestamp {
    let now = Timestamp::from_nanosecond(i128::from(clock::wall().0));
    now.expect("64 bits of nanoseconds end in 2262, and timestamps thousands of years later")
}

/// Names and values.
type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// The status and the headers. Of several heads, as curl prints them of redirects and proxies, the last.
fn head(bytes: &[u8]) -> Option<(u16, Headers<'_>)> {
    let mut head = None;
    let mut is_body = false;
    for line in bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii()) {
        if let Some(status) = status(line) {
            head = Some((status, Vec::new()));
            is_body = false;
        } else if let Some((_, headers)) = &mut head
            && !is_body
            && let Some(colon) = line.iter().position(|byte| *byte == b':')
            && let Ok(name) = str::from_utf8(&line[..colon])
        {
            headers.push((name, line[colon + 1..].trim_ascii()));
        }
        is_body |= line.is_empty();
    }
    head
}

/// Of a line such as `HTTP/2 429` or `HTTP/1.1 429 Too Many Requests`.
fn status(line: &[u8]) -> Option<u16> {
    let line = str::from_utf8(line).ok()?.strip_prefix("HTTP/")?;
    line.split(' ').nth(1)?.parse().ok()
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!("limited       {}", if report.limited { "yes" } else { "no" })];
    lines.extend(report.retry_after.map(|wait| format!("wait          {}", human(wait))));
    for limit in report.exhausted.iter().filter(|limit| !report.standings.contains_key(limit.as_str())) {
        lines.push(format!("limit         {limit}: nothing left"));
    }
    lines.extend(
        report.standings.iter().map(|(limit, standing)| format!("limit         {limit}: {}", left(standing))),
    );
    lines.extend(report.cost.map(|cost| format!("cost          {}", thousands(cost))));
    lines.extend(
        report
            .ignored
            .iter()
            .map(|Ignored { header, value, problem }| format!("ignored       {header}: `{value}` {problem}")),
    );
    lines.join("\n")
}

fn left(standing: &Standing) -> String {
    let parts = [
        standing.remaining.map(|left| format!("{} left", thousands(left))),
        standing.limit.map(|limit| format!("of {}", thousands(limit))),
        standing.resets_in.map(|reset| format!("fresh in {}", human(reset))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn json(report: &Report) -> Value {
    json!({
        "limited": report.limited,
        "exhausted": report.exhausted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retry_after_seconds": report.retry_after.map(seconds),
        "limits": report.standings.iter().map(|(limit, standing)| json!({
            "name": limit.as_str(),
            "limit": standing.limit,
            "remaining": standing.remaining,
            "resets_in_seconds": standing.resets_in.map(seconds),
        })).collect::<Vec<_>>(),
        "cost": report.cost,
        "ignored": report.ignored.iter().map(|Ignored { header, value, problem }| json!({
            "header": header,
            "value": value,
            "problem": problem.to_string(),
        })).collect::<Vec<_>>(),
    })
}
