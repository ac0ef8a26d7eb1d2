//! One step of a plan, as it is written on the command line.

use std::time::Duration;

use tollgate_client::v1::WorkStep;

use super::super::{acquire::parse_amount, duration};

pub const HELP: &str = "\
Settings of a step:
  calls=NUMBER             calls for each record [default: 1]
  batch=NUMBER             records for each call, instead [default: 1]
  cost=NUMBER              the weight of one call [default: what the operation costs]
  amount=DIMENSION=NUMBER  its weight in a dimension; may be repeated
  key=NAME                 the credential to use [default: all]
  takes=DURATION           how long a call holds its slot [default: 1s]

Example:
  tollgate plan --records 50000 --consumer crm-sync --step hubspot/acme:search --step salesforce/acme,batch=200,takes=2s

Times are in UTC. Nothing is reserved; others who acquire meanwhile make it longer.";

/// Calls to one resource.
#[derive(Clone, Debug)]
pub struct Step {
    pub wire: WorkStep,
}

impl Step {
    /// As it was written, without its settings.
    pub fn name(&self) -> String {
        match self.wire.operation.as_str() {
            "" => self.wire.resource.clone(),
            operation => format!("{}:{operation}", self.wire.resource),
        }
    }
}

/// Reads `hubspot/acme:search,calls=2,takes=500ms`.
pub fn parse(text: &str) -> Result<Step, String> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let (resource, operation) = name.split_once(':').unwrap_or((name, ""));
    if resource.is_empty() {
        return Err("name the resource first, such as hubspot/acme:search".to_owned());
    }
    let mut wire =
        WorkStep { resource: resource.to_owned(), operation: operation.to_owned(), ..WorkStep::default() };
    for setting in parts {
        let (name, value) = setting.split_once('=').ok_or_else(|| unknown(setting))?;
        match name {
            "calls" => wire.calls_per_record = number(name, value)?,
            "batch" => wire.records_per_call = number(name, value)?,
            "cost" => wire.cost = Some(number(name, value)?),
            "amount" => wire.amounts.extend([parse_amount(value)?]),
            "key" => wire.key = value.to_owned(),
            "takes" => wire.call_duration = Some(wire_duration(duration::parse(value)?)?),
            _ => return Err(unknown(setting)),
        }
    }
    Ok(Step { wire })
}

fn unknown(setting: &str) -> String {
    format!(
        "`{setting}` is no setting of a step; known are calls, batch, cost, amount, key and takes, each as NAME=VALUE"
    )
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: `{value}` is not a whole number"))
}

fn wire_duration(duration: Duration) -> Result<prost_types::Duration, String> {
    duration.try_into().map_err(|_| "takes: is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_in_one_word() {
        let step =
            parse("hubspot/acme:batch/read,batch=100,cost=2,amount=tokens=7,key=blue,takes=1500ms").unwrap();
        assert_eq!(step.name(), "hubspot/acme:batch/read");
        let WorkStep { records_per_call, cost, amounts, key, call_duration, .. } = step.wire;
        assert_eq!((records_per_call, cost, key.as_str()), (100, Some(2), "blue"));
        assert_eq!(amounts["tokens"], 7);
        assert_eq!(call_duration, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(parse("hubspot/acme").unwrap().name(), "hubspot/acme");
    }

    #[test]
    fn what_is_wrong_with_a_step_is_said() {
        for (text, said) in [
            (":search", "name the resource"),
            ("a/b,twice", "`twice` is no setting"),
            ("a/b,speed=2", "known are calls"),
            ("a/b,calls=many", "calls: `many` is not a whole number"),
            ("a/b,takes=long", "500ms"),
            ("a/b,amount=tokens", "DIMENSION=NUMBER"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
