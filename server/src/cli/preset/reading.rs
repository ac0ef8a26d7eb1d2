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

    /// The answer's status line, headers and body, as `curl --include` prints them [default: standard input].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The error code in its body, such as REQUEST_LIMIT_EXCEEDED [default: what the preset finds there; `preset show` tells where].
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
    let Printed { status, headers, body } = printed(&bytes).ok_or_else(|| {
        Failure::with(Code::Usage, "the answer does not begin with a status line such as HTTP/1.1 429")
            .advise("`curl --include` or `curl --head` prints one.")
    })?;
    let at = args.at.unwrap_or_else(now);
    // As a node does.
    let code = if args.code.is_empty() { preset.code_in(body) } else { args.code };
    let report = preset.profile.read(&Answer { status, headers: &headers, code: &code }, at);
    output.print(|| text(&report, &code), || json(&report, &code))
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

/// An answer as curl prints it.
struct Printed<'a> {
    status: u16,
    headers: Headers<'a>,
    body: &'a [u8],
}

/// Of several heads, one after the other, as curl prints them of redirects and proxies, the last, and what follows it.
fn printed(bytes: &[u8]) -> Option<Printed<'_>> {
    let mut last = one_printed(bytes.trim_ascii_start())?;
    while let Some(next) = one_printed(last.body) {
        last = next;
    }
    Some(last)
}

/// The first head, up to its empty line, and all that follows.
fn one_printed(bytes: &[u8]) -> Option<Printed<'_>> {
    let (line, mut body) = split_line(bytes);
    let status = status(line)?;
    let mut headers = Vec::new();
    loop {
        let (line, rest) = split_line(body);
        body = rest;
        if line.is_empty() {
            return Some(Printed { status, headers, body });
        }
        if let Some(colon) = line.iter().position(|byte| *byte == b':')
            && let Ok(name) = str::from_utf8(&line[..colon])
        {
            headers.push((name, line[colon + 1..].trim_ascii()));
        }
    }
}

/// The first line without white space around it, and what follows; at the end both are empty.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (bytes[..end].trim_ascii(), &bytes[end + 1..]),
        None => (bytes.trim_ascii(), &[]),
    }
}

/// Of a line such as `HTTP/2 429` or `HTTP/1.1 429 Too Many Requests`.
fn status(line: &[u8]) -> Option<u16> {
    let line = str::from_utf8(line).ok()?.strip_prefix("HTTP/")?;
    line.split(' ').nth(1)?.parse().ok()
}

fn text(report: &Report, code: &str) -> String {
    let mut lines = vec![format!("limited       {}", if report.limited { "yes" } else { "no" })];
    if !code.is_empty() {
        lines.push(format!("code          {code}"));
    }
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

fn json(report: &Report, code: &str) -> Value {
    json!({
        "limited": report.limited,
        "code": code,
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
