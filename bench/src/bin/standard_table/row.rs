//! One row: a case, what it must come to, what it came to, and how a figure is written.

use std::time::Duration;

/// What is measured, and what it must come to.
pub struct Row {
    pub case: &'static str,
    target: Target,
    /// The target, for people.
    asked: &'static str,
}

/// How a figure must stand to its target.
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// What was measured.
pub struct Figure {
    /// For people.
    pub shown: String,
    /// What the target is for.
    pub value: f64,
}

impl Row {
    pub const fn at_least(case: &'static str, least: f64, asked: &'static str) -> Row {
        Row { case, target: Target::AtLeast(least), asked }
    }

    pub const fn at_most(case: &'static str, most: f64, asked: &'static str) -> Row {
        Row { case, target: Target::AtMost(most), asked }
    }

    /// The line of a row that was measured.
    pub fn measured(&self, figure: &Figure) -> String {
        let is_met = match self.target {
            Target::AtLeast(least) => figure.value >= least,
            Target::AtMost(most) => figure.value <= most,
        };
        let verdict = if is_met { "met" } else { "missed" };
        format!("| {} | {} | {} | {verdict} |", self.case, figure.shown, self.asked)
    }

    /// The line of a row that could not be measured.
    pub fn failed(&self, problem: &str) -> String {
        let problem = problem.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
        format!("| {} | not measured: {problem} | {} | **failed** |", self.case, self.asked)
    }
}

/// A rate beside another: the median, the least and the greatest quotient.
pub fn beside(rate: &str, [median, least, greatest]: [f64; 3], of: &str) -> String {
    format!("{rate}: **{median:.2}** of {of} ({least:.2} to {greatest:.2})")
}

pub fn micros(duration: Duration) -> String {
    format!("{} µs", thousands(duration.as_micros() as f64))
}

/// `45,678`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let head = digits.len() % 3;
    let groups = digits.as_bytes()[head..].chunks(3).map(String::from_utf8_lossy);
    let first = (head > 0).then(|| digits[..head].into());
    first.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_apart_by_thousands() {
        for (number, expected) in [(0.0, "0"), (999.4, "999"), (45_678.0, "45,678"), (123_456.0, "123,456")] {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn a_row_says_how_its_figure_stands_to_its_target() {
        let row = Row::at_least("stream", 500.0, "≥ 500");
        let figure = |value| Figure { shown: format!("{value} a second"), value };
        assert_eq!(row.measured(&figure(500.0)), "| stream | 500 a second | ≥ 500 | met |");
        assert_eq!(row.measured(&figure(499.0)), "| stream | 499 a second | ≥ 500 | missed |");
        let wait = Row::at_most("wait", 2.0, "≤ 2");
        assert_eq!(wait.measured(&figure(3.0)), "| wait | 3 a second | ≤ 2 | missed |");
        assert_eq!(
            row.failed("h2load said:\n a | b"),
            "| stream | not measured: h2load said: a / b | ≥ 500 | **failed** |"
        );
    }
}
