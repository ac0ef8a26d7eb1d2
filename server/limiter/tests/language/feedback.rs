//! Circuit breakers, rules of feedback and reports in scripts: see `parse.rs`.

use goldenscript::ArgumentConsumer;
use tollgate_limiter::{
    CallOutcome, CircuitBreaker, FeedbackRules, LimitName, LimitTold, Report, Scope, VendorAnswer,
};

use super::{Fields, Parsed, label, option, outcome, permit_id, required, resource_name, span, take};

/// `row=3 percent=50 minimum=4 window=10s open=5s max=20s probes=2 timeout=10s scope=key`; what is not said does not open it,
/// or is the default.
pub fn breaker(text: &str) -> Parsed<CircuitBreaker> {
    let mut fields = fields(text);
    let default = CircuitBreaker::default();
    let scope = fields.optional("scope", |scope| match scope {
        "resource" => Ok(Scope::Resource),
        "key" => Ok(Scope::Key),
        "consumer" => Ok(Scope::Consumer),
        _ => Err(format!("unknown scope {scope}").into()),
    })?;
    let breaker = CircuitBreaker {
        scope: scope.unwrap_or(default.scope),
        consecutive_failures: fields.optional("row", number)?.unwrap_or(0),
        failure_percent: fields.optional("percent", number)?.unwrap_or(0),
        minimum_calls: fields.optional("minimum", number)?.unwrap_or(default.minimum_calls),
        window: fields.optional("window", span)?.unwrap_or(default.window),
        open_for: fields.optional("open", span)?.unwrap_or(default.open_for),
        max_open_for: fields.optional("max", span)?.unwrap_or(default.max_open_for),
        probes: fields.optional("probes", number)?.unwrap_or(default.probes),
        probe_timeout: fields.optional("timeout", span)?.unwrap_or(default.probe_timeout),
    };
    fields.finish("a breaker")?;
    Ok(breaker)
}

/// `ramp=10s from=10 recovery=60s floor=10 trusted=50 longest=1min`; what is not said is the default, but without a ramp there is none.
pub fn rules(text: &str) -> Parsed<FeedbackRules> {
    let mut fields = fields(text);
    let default = FeedbackRules::default();
    let rules = FeedbackRules {
        vendor: fields.optional("vendor", label)?.unwrap_or_default(),
        ramp: fields.span("ramp")?,
        ramp_from_percent: fields.optional("from", number)?.unwrap_or(default.ramp_from_percent),
        pace_recovery: fields.optional("recovery", span)?.unwrap_or(default.pace_recovery),
        pace_floor_percent: fields.optional("floor", number)?.unwrap_or(default.pace_floor_percent),
        trusted_percent: fields.optional("trusted", number)?.unwrap_or(default.trusted_percent),
        longest_wait: fields.optional("longest", span)?.unwrap_or(default.longest_wait),
    };
    fields.finish("feedback")?;
    Ok(rules)
}

/// `report acme key=blue permit=p3 operation=search consumer=crm subject=jane outcome=server_error wait=5s`
pub fn report(args: &mut ArgumentConsumer) -> Parsed<Report> {
    Ok(Report {
        resource: resource_name(args)?,
        key: option(args, "key", label)?.unwrap_or_default(),
        permit: option(args, "permit", permit_id)?,
        outcome: option(args, "outcome", outcome)?.unwrap_or_default(),
        answer: answer(args)?.unwrap_or_default(),
        operation: option(args, "operation", label)?.unwrap_or_default(),
        consumer: option(args, "consumer", label)?.unwrap_or_default(),
        subject: option(args, "subject", label)?.unwrap_or_default(),
    })
}

/// `wait=5s exhausted=search,daily told="daily:remaining=3,amount=100; search:amount=5" charged=30`, if there is any of it.
pub fn answer(args: &mut ArgumentConsumer) -> Parsed<Option<VendorAnswer>> {
    let answer = VendorAnswer {
        wait: option(args, "wait", span)?,
        reason: option(args, "because", label)?.unwrap_or_default(),
        exhausted: option(args, "exhausted", |names| names.split(',').map(limit).collect())?
            .unwrap_or_default(),
        limits: option(args, "told", |told| told.split(';').map(limit_told).collect())?.unwrap_or_default(),
        cost: take(args, "charged")?,
    };
    Ok(Some(answer).filter(|answer| *answer != VendorAnswer::default()))
}

/// As [`answer`]; what ends a permit says so too that a vendor refused without another word.
pub fn answer_with(outcome: CallOutcome, args: &mut ArgumentConsumer) -> Parsed<Option<Box<VendorAnswer>>> {
    let wordless = (outcome == CallOutcome::Throttled).then(VendorAnswer::default);
    Ok(answer(args)?.or(wordless).map(Box::new))
}

fn limit_told(text: &str) -> Parsed<LimitTold> {
    let (name, figures) = text.trim().split_once(':').ok_or("what is told is limit:figure=number")?;
    let figures = figures.split(',').map(|figure| figure.split_once('=').unwrap_or((figure, ""))).collect();
    let mut fields = Fields(figures);
    let mut figure = |key| fields.optional(key, |number| Ok(number.parse()?));
    let (amount, remaining) = (figure("amount")?, figure("remaining")?);
    fields.finish("what is told")?;
    Ok(LimitTold { limit: limit(name)?, amount, remaining })
}

fn limit(name: &str) -> Parsed<LimitName> {
    Ok(LimitName::new(required(Some(name), "a limit")?)?)
}

fn number(text: &str) -> Parsed<u32> {
    Ok(text.parse()?)
}

fn fields(text: &str) -> Fields<'_> {
    let words = text.split(' ').filter(|word| !word.is_empty());
    Fields(words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect())
}
