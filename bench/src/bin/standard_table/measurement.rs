//! One run of `tollgate bench`, and what it answered.

use std::{error::Error, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use super::cluster::Cluster;

/// A report of `tollgate bench --output json`.
pub struct Measurement(Value);

impl Measurement {
    /// Runs `tollgate bench` with these arguments, divided by spaces.
    pub async fn take(cluster: &Cluster, arguments: &str) -> Result<Measurement, Box<dyn Error>> {
        let mut command = Command::new(&cluster.tollgate);
        command.arg("bench").args(arguments.split_whitespace());
        command.args(["--output", "json", "--nodes", &cluster.nodes()]);
        let output = command.stderr(std::process::Stdio::inherit()).output().await?;
        if !output.status.success() {
            return Err(format!("`tollgate bench {arguments}` failed").into());
        }
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let errors = report["sides"].as_array().into_iter().flatten().map(|side| &side["errors"]);
        for errors in errors.filter_map(Value::as_object).filter(|errors| !errors.is_empty()) {
            eprintln!("`tollgate bench {arguments}`: {errors:?}");
        }
        Ok(Measurement(report))
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

/// What is absent is not a number, and meets no target.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
