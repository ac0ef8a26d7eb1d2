//! From an answer to a report.

use std::iter;

use http::header::RETRY_AFTER;
use jiff::Timestamp;

use crate::{
    Answer, HeaderRule, Problem, Profile, Reading, Report, TimeFormat,
    count::{amount, count, used_of_limit},
    items,
    time::time_left,
};

/// The longest value of a header that is read. Lists of usage have some hundred bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

/// From this status on, an answer is an error. Others have a `Retry-After` that is not about limits: a 202 tells with it when
/// the result will be there.
const ERROR_STATUS_MIN: u16 = 400;

impl Profile {
    /// What the answer says. `received_at` is when it came, by the clock that its dates are to be compared with.
    pub fn read(&self, answer: &Answer<'_>, received_at: Timestamp) -> Report {
        let signs: Vec<_> = self.signs.iter().filter(|sign| sign.is_in(answer)).collect();
        let mut report = Report { limited: !signs.is_empty(), ..Report::default() };

        let standard = HeaderRule::new(RETRY_AFTER, Reading::RetryAfter(TimeFormat::Any));
        let waits = report.limited || answer.status >= ERROR_STATUS_MIN;
        let is_meant = |rule: &&HeaderRule| waits || !matches!(rule.reading, Reading::RetryAfter(_));
        for rule in iter::once(&standard).chain(&self.headers).filter(is_meant) {
            rule.read(answer, received_at, &mut report);
        }

        let empty = report.standings.iter().filter(|(_, standing)| standing.remaining == Some(0));
        report.exhausted = empty.map(|(limit, _)| limit.clone()).collect();
        report.exhausted.extend(signs.iter().filter_map(|sign| sign.limit.clone()));
        if report.limited {
            let resets = report.exhausted.iter().filter_map(|limit| report.standings.get(limit)?.resets_in);
            let demanded = signs.iter().filter_map(|sign| sign.wait);
            if let Some(longest) = resets.chain(demanded).max() {
                report.wait(longest);
            }
        }
        report
    }
}

impl HeaderRule {
    fn read(&self, answer: &Answer<'_>, received_at: Timestamp, report: &mut Report) {
        if self.only_if.as_ref().is_some_and(|condition| !condition.holds(answer)) {
            return;
        }
        for value in answer.values(&self.name) {
            if let Err(problem) = self.read_value(value, received_at, report) {
                report.ignore(self.name.as_str(), value, problem);
            }
        }
    }

    fn read_value(&self, value: &[u8], received_at: Timestamp, report: &mut Report) -> Result<(), Problem> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Problem::TooLong);
        }
        let text = str::from_utf8(value).map_err(|_| Problem::Malformed("text"))?;
        if let Some(key) = &self.item {
            return self.read_parts(items::values(text, key), received_at, report);
        }
        match self.read_parts(iter::once(text), received_at, report) {
            // HTTP allows proxies to join headers that came twice by commas; some dates have a comma of their own.
            Err(Problem::Malformed(_)) if text.contains(',') => {
                self.read_parts(text.split(','), received_at, report)
            }
            outcome => outcome,
        }
    }

    /// All are read, though some make no sense; the first problem is told.
    fn read_parts<'a>(
        &self,
        parts: impl Iterator<Item = &'a str>,
        received_at: Timestamp,
        report: &mut Report,
    ) -> Result<(), Problem> {
        let mut outcome = Ok(());
        // An empty value says nothing: vendors send it where there is no limit.
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            outcome = outcome.and(self.reading.take(part, received_at, report));
        }
        outcome
    }
}

impl Reading {
    /// Adds what the text says, or changes nothing.
    fn take(&self, text: &str, received_at: Timestamp, report: &mut Report) -> Result<(), Problem> {
        match self {
            Reading::RetryAfter(format) => report.wait(time_left(*format, text, received_at)?),
            Reading::Limit(limit) => {
                let amount = amount(text)?;
                report.standing(limit).limit(amount);
            }
            Reading::Remaining(limit) => {
                let left = count(text)?;
                report.standing(limit).remaining(left);
            }
            Reading::UsedOfLimit(limit) => {
                let (left, amount) = used_of_limit(text)?;
                report.standing(limit).remaining(left);
                report.standing(limit).limit(amount);
            }
            Reading::Reset(limit, format) => {
                let left = time_left(*format, text, received_at)?;
                report.standing(limit).resets_in(left);
            }
            Reading::Cost => report.cost = report.cost.max(Some(count(text)?)),
        }
        Ok(())
    }
}
