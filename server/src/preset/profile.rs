//! How a vendor speaks, in TOML.
//!
//! ```toml
//! [[header]]
//! name = "zendesk-ratelimit-tickets-index"
//! item = "resets"                  # of a list `total=100; remaining=99; resets=41`
//! gives = "reset"
//! limit = "tickets-index"
//! format = "seconds"
//! only_if = { header = "x-kind", is = "tickets" }
//!
//! [[limited]]
//! status = 403
//! code = "REQUEST_LIMIT_EXCEEDED"
//! limit = "daily"
//! wait = "2s"                      # at the least, by the documentation
//!
//! [[limited]]
//! status = 503
//! header = { header = "Retry-After" }   # it is there, whatever it `is`
//! ```

use http::HeaderName;
use tollgate_limiter::LimitName;
use tollgate_vendors::{Condition, HeaderRule, Profile, Reading, Sign, TimeFormat};

use crate::{
    resource_file::limit::span,
    toml_reader::{Reader, Section},
};

/// Which [`Reading`].
#[derive(Clone, Copy)]
enum Gives {
    RetryAfter,
    Limit,
    Remaining,
    UsedOfLimit,
    Reset,
    Cost,
}

const GIVES: [(&str, Gives); 6] = [
    ("retry_after", Gives::RetryAfter),
    ("limit", Gives::Limit),
    ("remaining", Gives::Remaining),
    ("used_of_limit", Gives::UsedOfLimit),
    ("reset", Gives::Reset),
    ("cost", Gives::Cost),
];

/// The words for the formats of times.
pub const FORMATS: [(&str, TimeFormat); 8] = [
    ("seconds", TimeFormat::Seconds),
    ("milliseconds", TimeFormat::Milliseconds),
    ("epoch_seconds", TimeFormat::EpochSeconds),
    ("epoch_milliseconds", TimeFormat::EpochMilliseconds),
    ("duration", TimeFormat::Length),
    ("rfc3339", TimeFormat::Rfc3339),
    ("http_date", TimeFormat::HttpDate),
    ("any", TimeFormat::Any),
];

/// Reads `[[header]]` and `[[limited]]`.
pub fn profile<'i>(reader: &mut Reader<'i>, root: &mut Section<'_, 'i>) -> Profile {
    let headers = reader.sections(root, "header");
    let signs = reader.sections(root, "limited");
    Profile {
        headers: headers.into_iter().filter_map(|section| header(reader, section)).collect(),
        signs: signs.into_iter().filter_map(|section| sign(reader, section)).collect(),
    }
}

fn header<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Option<HeaderRule> {
    let name = header_name(reader, &mut section, "name");
    let reading = reading(reader, &mut section);
    let item = reader.text(&mut section, "item");
    let only_if = condition(reader, &mut section, "only_if");
    if reading.is_some() {
        // Without what it gives it is not known what else it may have.
        reader.finish(section);
    }
    Some(HeaderRule { name: name?, item, only_if, reading: reading? })
}

fn reading<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Option<Reading> {
    if !section.has("gives") {
        let words = GIVES.map(|(word, _)| word).join(", ");
        reader.reject(section, "gives", format_args!("is required: one of {words}"));
    }
    Some(match reader.word(section, "gives", &GIVES)? {
        Gives::RetryAfter => Reading::RetryAfter(format(reader, section)?),
        Gives::Limit => Reading::Limit(limit(reader, section)?),
        Gives::Remaining => Reading::Remaining(limit(reader, section)?),
        Gives::UsedOfLimit => Reading::UsedOfLimit(limit(reader, section)?),
        Gives::Reset => {
            let (limit, format) = (limit(reader, section), format(reader, section));
            Reading::Reset(limit?, format?)
        }
        Gives::Cost => Reading::Cost,
    })
}

fn format<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Option<TimeFormat> {
    if !section.has("format") {
        let words = FORMATS.map(|(word, _)| word).join(", ");
        reader.reject(section, "format", format_args!("is required: one of {words}"));
    }
    reader.word(section, "format", &FORMATS)
}

fn limit<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Option<LimitName> {
    if !section.has("limit") {
        reader.reject(section, "limit", "is required: the name of a limit");
    }
    optional_limit(reader, section)
}

fn optional_limit<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>) -> Option<LimitName> {
    let name: String = reader.text(section, "limit")?;
    let limit = LimitName::new(&name);
    limit.map_err(|problem| reader.reject(section, "limit", problem)).ok()
}

fn header_name<'i>(reader: &mut Reader<'i>, section: &mut Section<'_, 'i>, key: &str) -> Option<HeaderName> {
    if !section.has(key) {
        reader.reject(section, key, "is required: the name of a header");
    }
    reader.text(section, key)
}

fn condition<'i>(reader: &mut Reader<'i>, of: &mut Section<'_, 'i>, key: &str) -> Option<Condition> {
    let mut section = reader.section(of, key)?;
    let header = header_name(reader, &mut section, "header");
    let value = reader.text(&mut section, "is");
    reader.finish(section);
    Some(Condition { header: header?, value })
}

fn sign<'i>(reader: &mut Reader<'i>, mut section: Section<'_, 'i>) -> Option<Sign> {
    let status = reader.integer(&mut section, "status").unwrap_or(0);
    if !(100..600).contains(&status) {
        reader.reject(&section, "status", "must be an HTTP status: 100 to 599");
    }
    let sign = Sign {
        status,
        code: reader.text(&mut section, "code"),
        header: condition(reader, &mut section, "header"),
        limit: optional_limit(reader, &mut section),
        wait: span(reader, &mut section, "wait").and_then(|wait| wait.try_into().ok()),
    };
    reader.finish(section);
    Some(sign)
}
