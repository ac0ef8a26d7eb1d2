//! One run of `tollgate bench`, and what it answered, if nothing went wrong.

use std::{error::Error, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use super::cluster::Cluster;

/// A report of `tollgate bench --output json`.
pub struct Measurement(Value);

impl Measurement {
    /// Runs `tollgate bench` with these arguments, divided by spaces. Fails also where something disturbed the run.
    pub async fn take(cluster: &Cluster, arguments: &str) -> Result<Measurement, Box<dyn Error>> {
        let mut command = Command::new(&cluster.tollgate);
        command.arg("bench").args(arguments.split_whitespace());
        command.args(["--output", "json", "--nodes", &cluster.nodes()]);
        let output = command.stderr(Stdio::inherit()).output().await?;
        if !output.status.success() {
            return Err(format!("`tollgate bench {arguments}` failed").into());
        }
        let report = serde_json::from_slice(&output.stdout)?;
        match flaw(&report) {
            Some(flaw) => Err(format!("`tollgate bench {arguments}`: {flaw}").into()),
            None => Ok(Measurement(report)),
        }
    }

    /// Operations in a second, of the side with this name.
    pub fn rate(&self, side: &str) -> f64 {
        number(&self.side(side)["operations_per_second"])
    }

    /// A quantile of the latency, such as `p50`.
    pub fn latency(&self, side: &str, quantile: &str) -> Duration {
        Duration::from_secs_f64(number(&self.side(side)["latency_seconds"][quantile]).max(0.0))
    }

    /// The median, least and greatest quotient of all pairs, `of_floor` or `of_first`.
    pub fn ratio(&self, side: &str, of: &str) -> [f64; 3] {
        ["median", "least", "greatest"].map(|part| number(&self.side(side)[of][part]))
    }

    fn side(&self, name: &str) -> &Value {
        let mut sides = self.0["sides"].as_array().into_iter().flatten();
        sides.find(|side| side["name"] == name).unwrap_or(&Value::Null)
    }
}

/// Why a report is of something else than it says: part of the calls failed, or a leader had to be elected first.
fn flaw(report: &Value) -> Option<String> {
    if report["leader_changed"].as_bool() != Some(false) {
        return Some("a leader was elected meanwhile".to_owned());
    }
    let mut sides = report["sides"].as_array().into_iter().flatten();
    sides.find_map(flaw_of)
}

fn flaw_of(side: &Value) -> Option<String> {
    let name = side["name"].as_str().unwrap_or_default();
    let Some(errors) = side["errors"].as_object() else {
        return Some(format!("{name}: nothing is said of errors"));
    };
    if side["operations"].as_u64().unwrap_or(0) == 0 {
        return Some(format!("{name}: nothing came of it, {errors:?}"));
    }
    let count: u64 = errors.values().filter_map(Value::as_u64).sum();
    errors.keys().next().map(|first| format!("{name}: {count} errors, such as {first}"))
}

/// What is absent is not a number.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_with_errors_or_another_leader_is_no_measurement() {
        let side = |operations: u64, errors: Value| {
            let name = "leader";
            json!({ "name": name, "operations": operations, "errors": errors })
        };
        let report = |leader_changed: bool, errors: Value| {
            let sides = [side(100, errors)];
            json!({ "leader_changed": leader_changed, "sides": sides })
        };
        assert_eq!(flaw(&report(false, json!({}))), None);
        let failed = flaw(&report(false, json!({ "Unavailable NO_LEADER": 7, "denied PAUSED": 2 })));
        assert_eq!(failed.as_deref(), Some("leader: 9 errors, such as Unavailable NO_LEADER"));
        assert!(flaw(&report(true, json!({}))).is_some_and(|flaw| flaw.contains("a leader was elected")));
        assert!(flaw(&report(false, Value::Null)).is_some_and(|flaw| flaw.contains("nothing is said")));
        assert!(flaw(&json!({ "sides": [] })).is_some(), "it does not say who leads");
        let idle = json!({ "leader_changed": false, "sides": [side(0, json!({}))] });
        assert!(flaw(&idle).is_some_and(|flaw| flaw.contains("nothing came of it")));
    }
}
