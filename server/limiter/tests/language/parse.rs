//! What scripts say, as the limiter's own types.
//!
//! A limit is `name kind [key=value]… [shadow]`, such as `"burst token_bucket capacity=10 refill=5/1s"`. Settings of a
//! resource: `keys=`, `dispatch_tolerance=`, `settle_within=`. A budget is `budget name [key=value]… [unbudgeted]`, such as
//! `"budget crm consumers=crm/*,sync shares=daily:20..60 open=mon+tue@08:00-18:00,sat@10:00-12:00 zone=Europe/Berlin"`.

#[path = "budget.rs"]
mod budget;
#[path = "feedback.rs"]
pub mod feedback;

use std::{collections::BTreeMap, error::Error, fmt::Display, str::FromStr};

use goldenscript::ArgumentConsumer;
use tollgate_limiter::{
    Acquire, Alternative, Anchor, CallOutcome, CallResult, Called, CoalesceKey, CoalesceKeyPrefix,
    CoalesceKeys, Concurrency, Description, Dimension, FixedWindow, HoldBack, InvalidateResults, KeyState,
    Label, LeakyBucket, Limit, LimitKind, LimitName, OperationCost, Pause, PauseResource, PermitId, Queueing,
    RequestId, Resource, ResourceName, ResultBytes, Scope, SlidingWindow, Span, TimeZoneName, TokenBucket,
};

use self::budget::budget;

type Parsed<T> = Result<T, Box<dyn Error>>;

pub fn required<'a>(argument: Option<&'a str>, what: &str) -> Parsed<&'a str> {
    argument.ok_or_else(|| format!("{what} is missing").into())
}

/// `key=value`, if it is there, parsed by `parse`.
pub fn option<T>(args: &mut ArgumentConsumer, key: &str, parse: fn(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    args.take_key(key).map(parse).transpose()
}

/// `key=value`, if it is there.
pub fn take<T: FromStr<Err: Display>>(args: &mut ArgumentConsumer, key: &str) -> Parsed<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|e| format!("{key}={text}: {e}").into());
    args.take_key(key).map(parse).transpose()
}

pub fn resource_name(args: &mut ArgumentConsumer) -> Parsed<ResourceName> {
    Ok(ResourceName::new(required(args.next_pos(), "a resource")?)?)
}

pub fn permit(args: &mut ArgumentConsumer) -> Parsed<PermitId> {
    permit_id(required(args.next_pos(), "a permit")?)
}

fn permit_id(text: &str) -> Parsed<PermitId> {
    Ok(PermitId(text.strip_prefix('p').ok_or("permits are p1, p2, …")?.parse()?))
}

pub fn label(text: &str) -> Parsed<Label> {
    Ok(Label::new(text)?)
}

/// `250ms`, `10s`, `5min`, `24h`, `7d`, `3ns`.
pub fn span(text: &str) -> Parsed<Span> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let nanos = match unit {
        "ns" => 1,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "d" => 24 * 3600 * 1_000_000_000,
        _ => return Err(format!("{text} is not a span").into()),
    };
    Ok(Span(number.parse::<u64>()? * nanos))
}

/// `input_tokens:5,output_tokens:7`.
pub fn amounts(text: &str) -> Parsed<BTreeMap<Dimension, u64>> {
    let amount = |entry: &str| {
        let (dimension, amount) = entry.split_once(':').ok_or("amounts are dimension:amount")?;
        Ok((Dimension::new(dimension)?, amount.parse()?))
    };
    text.split(',').map(amount).collect()
}

pub fn outcome(text: &str) -> Parsed<CallOutcome> {
    Ok(match text {
        "ok" => CallOutcome::Ok,
        "throttled" => CallOutcome::Throttled,
        "client_error" => CallOutcome::ClientError,
        "server_error" => CallOutcome::ServerError,
        "timeout" => CallOutcome::Timeout,
        "unknown" => CallOutcome::Unknown,
        "not_sent" => CallOutcome::NotSent,
        _ => return Err(format!("unknown outcome {text}").into()),
    })
}

pub fn pause(args: &mut ArgumentConsumer) -> Parsed<PauseResource> {
    Ok(PauseResource {
        resource: resource_name(args)?,
        key: option(args, "key", label)?.unwrap_or_default(),
        pause: Pause {
            left: option(args, "for", span)?,
            reason: option(args, "reason", label)?.unwrap_or_default(),
        },
    })
}

/// `hold_back p1 for=5s` of a permit's call, or `hold_back acme key=blue for=5s`.
pub fn hold_back(args: &mut ArgumentConsumer) -> Parsed<HoldBack> {
    let of = required(args.next_pos(), "a permit or a resource")?;
    let called = match of.strip_prefix('p').and_then(|id| id.parse().ok()) {
        Some(id) => Called::With(PermitId(id)),
        None => Called::Of {
            resource: ResourceName::new(of)?,
            key: option(args, "key", label)?.unwrap_or_default(),
        },
    };
    let wait = option(args, "for", span)?.ok_or("for= is missing")?;
    Ok(HoldBack { called, wait, reason: option(args, "reason", label)?.unwrap_or_default() })
}

pub fn key_state(text: &str) -> Parsed<KeyState> {
    Ok(match text {
        "active" => KeyState::Active,
        "draining" => KeyState::Draining,
        "disabled" => KeyState::Disabled,
        _ => return Err(format!("unknown state {text}").into()),
    })
}

/// `result=text` with `ttl=`.
pub fn result(args: &mut ArgumentConsumer) -> Parsed<Option<CallResult>> {
    let ttl = option(args, "ttl", span)?.unwrap_or(CallResult::TTL_MIN);
    let bytes = option(args, "result", |text| Ok(ResultBytes::new(text.as_bytes())?))?;
    Ok(bytes.map(|bytes| CallResult { bytes, ttl }))
}

/// `invalidate acme key=contact/42`, or `invalidate acme prefix=contact/`.
pub fn invalidation(args: &mut ArgumentConsumer) -> Parsed<InvalidateResults> {
    let resource = resource_name(args)?;
    let keys = match (args.take_key("key"), args.take_key("prefix")) {
        (Some(key), None) => CoalesceKeys::One(CoalesceKey::new(key)?),
        (None, prefix) => CoalesceKeys::With(CoalesceKeyPrefix::new(prefix.unwrap_or_default())?),
        _ => return Err("a key or a prefix".into()),
    };
    Ok(InvalidateResults { resource, keys })
}

pub fn acquire(args: &mut ArgumentConsumer) -> Parsed<Acquire> {
    Ok(Acquire {
        resource: resource_name(args)?,
        operation: option(args, "operation", label)?.unwrap_or_default(),
        cost: take(args, "cost")?.unwrap_or(0),
        amounts: option(args, "amounts", amounts)?.unwrap_or_default(),
        consumer: option(args, "consumer", label)?.unwrap_or_default(),
        subject: option(args, "subject", label)?.unwrap_or_default(),
        key: option(args, "key", label)?.unwrap_or_default(),
        priority: Default::default(),
        lease: option(args, "lease", span)?,
        request_id: option(args, "id", |text| Ok(RequestId::new(text)?))?,
        alternatives: option(args, "or", alternatives)?.unwrap_or_default(),
        coalesce_key: option(args, "coalesce", |text| Ok(CoalesceKey::new(text)?))?,
    })
}

/// `beta cost=2; gamma operation=search key=blue`.
fn alternatives(text: &str) -> Parsed<Vec<Alternative>> {
    text.split(';').map(alternative).collect()
}

fn alternative(text: &str) -> Parsed<Alternative> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let resource = ResourceName::new(required(words.next(), "the alternative's resource")?)?;
    let mut fields = Fields(words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect());
    let alternative = Alternative {
        resource,
        operation: fields.optional("operation", label)?.unwrap_or_default(),
        cost: fields.optional("cost", |n| Ok(n.parse()?))?.unwrap_or(0),
        amounts: fields.optional("amounts", amounts)?.unwrap_or_default(),
        key: fields.optional("key", label)?.unwrap_or_default(),
    };
    fields.finish("an alternative")?;
    Ok(alternative)
}

pub fn resource(args: &mut ArgumentConsumer) -> Parsed<Resource> {
    let name = resource_name(args)?;
    let (mut limits, mut budgets) = (vec![], vec![]);
    while let Some(text) = args.next_pos() {
        match text.strip_prefix("budget ") {
            Some(text) => budgets.push(budget(text)?),
            None => limits.push(limit(text)?),
        }
    }
    let keys = args.take_key("keys").map_or(Ok(vec![]), |keys| keys.split(',').map(label).collect())?;
    Ok(Resource {
        name,
        limits,
        keys,
        dispatch_tolerance: option(args, "dispatch_tolerance", span)?.unwrap_or_default(),
        settle_within: option(args, "settle_within", span)?.unwrap_or(Span::from_secs(60)),
        description: Description::default(),
        budgets,
        queueing: Queueing::default(),
        circuit_breaker: option(args, "breaker", feedback::breaker)?.map(Box::new),
        feedback: option(args, "feedback", feedback::rules)?.map(Box::new).unwrap_or_default(),
        operation_costs: option(args, "costs", operation_costs)?.unwrap_or_default(),
    })
}

/// `search:2,list/*:8`.
fn operation_costs(text: &str) -> Parsed<Vec<OperationCost>> {
    let each = |text: &str| {
        let (operation, cost) = text.rsplit_once(':').ok_or("a cost is operation:cost")?;
        Ok(OperationCost { operation: label(operation)?, cost: cost.parse()? })
    };
    text.split(',').map(each).collect()
}

fn limit(text: &str) -> Parsed<Limit> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let name = LimitName::new(required(words.next(), "the limit's name")?)?;
    let kind = required(words.next(), "the limit's kind")?;
    let mut fields = Fields(words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect());
    let limit = Limit {
        name,
        operations: fields
            .0
            .remove("operations")
            .map_or(Ok(vec![]), |list| list.split(',').map(label).collect())?,
        dimension: fields.optional("dimension", |text| Ok(Dimension::new(text)?))?,
        scope: fields.optional("scope", scope)?.unwrap_or(Scope::Resource),
        max_scope_values: fields.optional("max_scope_values", |n| Ok(n.parse()?))?.unwrap_or(10_000),
        shadow: fields.0.remove("shadow").is_some(),
        kind: limit_kind(kind, &mut fields)?,
    };
    fields.finish(kind)?;
    Ok(limit)
}

fn scope(text: &str) -> Parsed<Scope> {
    Ok(match text {
        "resource" => Scope::Resource,
        "key" => Scope::Key,
        "consumer" => Scope::Consumer,
        "subject" => Scope::Subject,
        _ => return Err(format!("unknown scope {text}").into()),
    })
}

fn limit_kind(kind: &str, fields: &mut Fields) -> Parsed<LimitKind> {
    Ok(match kind {
        "token_bucket" => {
            let (refill_amount, refill_period) = fields.rate("refill")?;
            LimitKind::TokenBucket(TokenBucket {
                capacity: fields.number("capacity")?,
                refill_amount,
                refill_period,
            })
        }
        "leaky_bucket" => {
            let (amount, period) = fields.rate("rate")?;
            LimitKind::LeakyBucket(LeakyBucket { amount, period })
        }
        "fixed_window" => LimitKind::FixedWindow(FixedWindow {
            amount: fields.number("amount")?,
            period: fields.optional("period", span)?.unwrap_or(Span::from_secs(24 * 3600)),
            anchor: match fields.required("anchor")? {
                "epoch" => Anchor::Epoch,
                "first_request" => Anchor::FirstRequest,
                zone => Anchor::Midnight(TimeZoneName::new(zone)?),
            },
            max_clock_skew: fields.span("skew")?,
        }),
        "sliding_window" => LimitKind::SlidingWindow(SlidingWindow {
            amount: fields.number("amount")?,
            period: span(fields.required("period")?)?,
            resolution: fields.optional("resolution", |n| Ok(n.parse()?))?.unwrap_or(100),
        }),
        "concurrency" => LimitKind::Concurrency(Concurrency {
            slots: u32::try_from(fields.number("slots")?)?,
            lease_default: fields.optional("lease", span)?.unwrap_or(Span::from_secs(60)),
            lease_max: fields.optional("lease_max", span)?.unwrap_or(Span::from_secs(600)),
            grace: fields.span("grace")?,
            counts_after: fields.span("counts_after")?,
            quarantine: fields.span("quarantine")?,
        }),
        _ => return Err(format!("unknown kind {kind}").into()),
    })
}

struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn required(&mut self, key: &str) -> Parsed<&'a str> {
        required(self.0.remove(key), key)
    }

    fn optional<T>(&mut self, key: &str, parse: fn(&str) -> Parsed<T>) -> Parsed<Option<T>> {
        self.0.remove(key).map(parse).transpose()
    }

    fn number(&mut self, key: &str) -> Parsed<u64> {
        Ok(self.required(key)?.parse()?)
    }

    /// Zero without it.
    fn span(&mut self, key: &str) -> Parsed<Span> {
        Ok(self.optional(key, span)?.unwrap_or_default())
    }

    /// All of them were read.
    fn finish(&self, of: &str) -> Parsed<()> {
        match self.0.first_key_value() {
            Some((unknown, _)) => Err(format!("{of} has no {unknown}").into()),
            None => Ok(()),
        }
    }

    /// `5/1s`.
    fn rate(&mut self, key: &str) -> Parsed<(u64, Span)> {
        let (amount, period) = self.required(key)?.split_once('/').ok_or("rates are amount/period")?;
        Ok((amount.parse()?, span(period)?))
    }
}
