//! How a resource is, in a few words, as far as orders and its vendor's answers tell.

use std::time::Duration;

use tollgate_client::{
    CircuitState,
    v1::{KeyState, Resource, VendorCondition},
};

use super::super::duration;

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Paused,
    CircuitOpen,
    Disabled,
    CircuitHalfOpen,
    Draining,
    Paced,
    Tightened,
    Fine,
}

/// What is said of a key (empty: of the resource as a whole), and for how long it lasts if it has an end.
type Said<'a> = (&'a str, Option<Duration>);

/// Everything that keeps permits back, the worst first, with the grade of the worst; `ok` where there is nothing.
pub fn state(resource: &Resource) -> (Grade, String) {
    let pauses = resource.pause.iter().map(|pause| ("", pause));
    let of_keys = resource.key_statuses.iter();
    let pauses = pauses.chain(of_keys.filter_map(|of| Some((of.key.as_str(), of.pause.as_ref()?))));
    let paused = pauses.map(|(key, pause)| (key, pause.left.map(duration::from_wire)));
    let told = [
        (Grade::Paused, text(resource, "paused", paused)),
        (Grade::CircuitOpen, text(resource, "circuit open", circuits(resource, CircuitState::Open))),
        (Grade::Disabled, text(resource, "disabled", keys_that_are(resource, KeyState::Disabled))),
        (
            Grade::CircuitHalfOpen,
            text(resource, "circuit half-open", circuits(resource, CircuitState::HalfOpen)),
        ),
        (Grade::Draining, text(resource, "draining", keys_that_are(resource, KeyState::Draining))),
        (Grade::Paced, paced(resource)),
        (Grade::Tightened, is_tightened(resource).then(|| "tightened".to_owned())),
    ];
    let told: Vec<_> = told.into_iter().filter_map(|(grade, text)| Some((grade, text?))).collect();
    let grade = told.first().map_or(Grade::Fine, |(grade, _)| *grade);
    let texts: Vec<_> = told.into_iter().map(|(_, text)| text).collect();
    (grade, if texts.is_empty() { "ok".to_owned() } else { texts.join(", ") })
}

/// Limits of which the vendor allows more are told beside them, and keep nothing back.
fn is_tightened(resource: &Resource) -> bool {
    resource.tightened.iter().any(|limit| limit.amount < limit.defined)
}

/// `paused 9m`; of keys how many, and how long it lasts for the last of them: `circuit open 4m (2 of 5 keys)`.
fn text<'a>(resource: &Resource, what: &str, said: impl Iterator<Item = Said<'a>>) -> Option<String> {
    let said: Vec<_> = said.collect();
    let whole = said.iter().find(|(key, _)| key.is_empty()).map(|(_, left)| *left);
    let last = said.iter().map(|(_, left)| *left).collect::<Option<Vec<_>>>();
    let left = whole.unwrap_or_else(|| last.and_then(|lefts| lefts.into_iter().max()));
    let left = left.map(|left| format!(" {}", duration::human(left))).unwrap_or_default();
    match whole {
        Some(_) => Some(format!("{what}{left}")),
        None if said.is_empty() => None,
        None => Some(format!("{what}{left} ({} of {} keys)", said.len(), resource.keys.len())),
    }
}

/// Those that are tried with probes have no end of their own.
fn circuits(resource: &Resource, state: CircuitState) -> impl Iterator<Item = Said<'_>> {
    resource.conditions.iter().filter_map(move |of| {
        let circuit = of.circuit.as_ref().filter(|circuit| circuit.state() == state)?;
        let left = circuit.left.filter(|_| state == CircuitState::Open);
        Some((of.key.as_str(), left.map(duration::from_wire)))
    })
}

fn keys_that_are(resource: &Resource, state: KeyState) -> impl Iterator<Item = Said<'_>> {
    let keys = resource.key_statuses.iter().filter(move |of| of.state() == state);
    keys.map(|of| (of.key.as_str(), None))
}

/// With the share of the full rate that is granted: of the resource, or of the slowest key.
fn paced(resource: &Resource) -> Option<String> {
    let percent = |of: &VendorCondition| {
        let pace = of.pace.as_ref()?;
        let full = u128::from(pace.full_micros_per_second.max(1));
        Some((of.key.as_str().to_owned(), u128::from(pace.micros_per_second) * 100 / full))
    };
    let paces: Vec<_> = resource.conditions.iter().filter_map(percent).collect();
    let whole = paces.iter().find(|(key, _)| key.is_empty());
    let slowest = whole.or_else(|| paces.iter().min_by_key(|(_, percent)| *percent))?.1;
    text(resource, &format!("paced {slowest} %"), paces.iter().map(|(key, _)| (key.as_str(), None)))
}

#[cfg(test)]
mod tests {
    use tollgate_client::v1::{Circuit, KeyStatus, Pace, Pause, TightenedLimit};

    use super::*;

    fn of(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn pause(seconds: i64) -> Option<Pause> {
        Some(Pause { left: of(seconds), ..Default::default() })
    }

    fn open(key: &str, seconds: i64) -> VendorCondition {
        let circuit = Circuit { state: CircuitState::Open.into(), left: of(seconds), ..Default::default() };
        VendorCondition { key: key.to_owned(), circuit: Some(circuit), pace: None }
    }

    fn paced(key: &str, micros_per_second: u64) -> VendorCondition {
        let pace = Pace { micros_per_second, full_micros_per_second: 1_000, ..Default::default() };
        VendorCondition { key: key.to_owned(), circuit: None, pace: Some(pace) }
    }

    fn resource(conditions: Vec<VendorCondition>) -> Resource {
        let keys = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        Resource { keys, conditions, ..Default::default() }
    }

    fn is(resource: &Resource, grade: Grade, text: &str) {
        assert_eq!(state(resource), (grade, text.to_owned()));
    }

    #[test]
    fn the_worst_comes_first() {
        is(&resource(vec![]), Grade::Fine, "ok");
        let open = resource(vec![open("a", 60), paced("b", 500), open("c", 240), paced("d", 120)]);
        is(&open, Grade::CircuitOpen, "circuit open 4m (2 of 5 keys), paced 12 % (2 of 5 keys)");
        let more = TightenedLimit { defined: 190, amount: 190, told: 250, ..TightenedLimit::default() };
        let generous = Resource { tightened: vec![more.clone()], ..Resource::default() };
        is(&generous, Grade::Fine, "ok");
        let tightened = vec![TightenedLimit { amount: 95, ..more }];
        let mut all = Resource { pause: pause(540), tightened, ..open };
        is(
            &all,
            Grade::Paused,
            "paused 9m, circuit open 4m (2 of 5 keys), paced 12 % (2 of 5 keys), tightened",
        );
        all.conditions = vec![paced("", 999)];
        all.pause = Some(Pause::default());
        is(&all, Grade::Paused, "paused, paced 99 %, tightened");
    }

    #[test]
    fn keys_that_are_out_of_use_are_counted() {
        let status =
            |key: &str, state: KeyState, pause| KeyStatus { key: key.to_owned(), state: state.into(), pause };
        let key_statuses = vec![
            status("a", KeyState::Disabled, None),
            status("b", KeyState::Active, pause(60)),
            status("c", KeyState::Draining, Some(Pause::default())),
        ];
        let probed = Circuit { state: CircuitState::HalfOpen.into(), left: of(7), ..Default::default() };
        let probed = VendorCondition { key: "d".to_owned(), circuit: Some(probed), pace: None };
        let resource = Resource { key_statuses, ..resource(vec![probed]) };
        let text = "paused (2 of 5 keys), disabled (1 of 5 keys), circuit half-open (1 of 5 keys), \
                    draining (1 of 5 keys)";
        is(&resource, Grade::Paused, text);
    }

    #[test]
    fn a_circuit_that_is_closed_is_no_trouble() {
        let circuit = Circuit { state: CircuitState::Closed.into(), failures: 1, ..Default::default() };
        let closed = VendorCondition { key: String::new(), circuit: Some(circuit), pace: None };
        is(&resource(vec![closed]), Grade::Fine, "ok");
    }
}
