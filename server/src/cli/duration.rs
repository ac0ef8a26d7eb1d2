//! Durations for people.

use std::time::Duration;

/// Reads `90s`, `1h 30m`, `250ms`.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a number and a unit, such as 500ms, 90s or 2h"))
}

/// Two or three digits that matter: `0s`, `350ms`, `12.3s`, `2h 5m`. Rounded up, so that nobody comes too early.
pub fn human(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    match millis {
        0 => "0s".to_owned(),
        1..1_000 => format!("{millis}ms"),
        1_000..60_000 => {
            let tenths = millis.div_ceil(100);
            match tenths % 10 {
                0 => format!("{}s", tenths / 10),
                tenth => format!("{}.{tenth}s", tenths / 10),
            }
        }
        60_000..3_600_000 => units(millis.div_ceil(1_000), 60, "m", "s"),
        3_600_000..172_800_000 => units(millis.div_ceil(60_000), 60, "h", "m"),
        _ => units(millis.div_ceil(3_600_000), 24, "d", "h"),
    }
}

/// A wire's duration for people; a dash when absent.
pub fn wire(duration: Option<prost_types::Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| human(from_wire(duration)))
}

/// A wire's duration; a negative one, which no server sends, reads as 0.
pub fn from_wire(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn units(count: u128, per_unit: u128, unit: &str, rest: &str) -> String {
    match count % per_unit {
        0 => format!("{}{unit}", count / per_unit),
        left => format!("{}{unit} {left}{rest}", count / per_unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_rounded_up() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (350_000_000, "350ms"),
            (999_000_001, "1s"),
            (12_300_000_000, "12.3s"),
            (59_950_000_000, "60s"),
            (60_000_000_000, "1m"),
            (125_000_000_000, "2m 5s"),
            (7_500_000_000_000, "2h 5m"),
            (172_800_000_000_000, "2d"),
            (180_000_000_000_000, "2d 2h"),
        ] {
            assert_eq!(human(Duration::from_nanos(nanos)), expected);
        }
    }
}
