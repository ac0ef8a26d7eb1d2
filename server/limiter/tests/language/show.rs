//! How scripts show what the limiter answers: a line for each answer, so that the output reads as a trace.

use tollgate_limiter::{
    Answer, BudgetCause, BudgetFigures, CircuitState, CircuitStatus, CircuitTurn, ConsumerFigures,
    CounterFigures, Denial, DenialReason, Grant, HeldSlot, KeyStatus, Label, Outcome, PaceStatus, Pause,
    ResourceUsage, StoredResource, TightenedLimit,
};

pub fn answer(answer: &Answer) -> String {
    match answer {
        Ok(Outcome::Granted(granted)) => grant(granted),
        Ok(Outcome::Denied(denied)) => denial(denied),
        Ok(Outcome::Renewed(lease)) => format!("renewed for {lease}"),
        Ok(Outcome::Released(held_for)) => format!("released after {held_for}"),
        Ok(Outcome::Stored(stored)) => {
            let orders = orders(stored).into_iter().map(|order| format!(", {order}"));
            format!("stored as generation {}{}", stored.generation, orders.collect::<String>())
        }
        Ok(Outcome::Deleted) => "deleted".into(),
        Ok(Outcome::Kept) => "kept".into(),
        Ok(Outcome::Shared(result)) => {
            format!("result {:?}, {} old", String::from_utf8_lossy(result.bytes.as_slice()), result.age)
        }
        Ok(Outcome::Invalidated(1)) => "a result is gone".into(),
        Ok(Outcome::Invalidated(count)) => format!("{count} results are gone"),
        Ok(Outcome::Reported(shut_for)) if shut_for.is_zero() => "reported".into(),
        Ok(Outcome::Reported(shut_for)) => format!("reported, shut for {shut_for}"),
        Err(rejection) => format!("rejected: {rejection}"),
    }
}

fn grant(grant: &Grant) -> String {
    let verb = if grant.replayed { "replayed" } else { "granted" };
    let mut parts = vec![format!("{verb} p{}", grant.permit.0)];
    if grant.alternative > 0 {
        parts[0].push_str(&format!(" (alternative {})", grant.alternative));
    }
    if !grant.key.is_empty() {
        parts.push(format!("key {}", grant.key));
    }
    parts.extend(grant.use_within.map(|span| format!("use within {span}")));
    parts.extend(grant.lease.map(|span| format!("lease {span}")));
    for slot in &grant.slots {
        parts.push(format!("slot {} of {} (generation {})", slot.index, slot.limit, slot.generation));
    }
    for usage in &grant.usage {
        let shadow = match (usage.shadow, usage.would_deny) {
            (false, _) => "",
            (true, false) => " (shadow)",
            (true, true) => " (shadow, would deny)",
        };
        parts.push(format!("{} {}/{} left{shadow}", usage.limit, usage.available, usage.amount));
    }
    parts.join(", ")
}

fn denial(denial: &Denial) -> String {
    let by = match (&denial.reason, &denial.limit) {
        (DenialReason::LimitExhausted, Some(limit)) => limit.to_string(),
        (DenialReason::LimitExhausted, None) => "no limit".into(),
        (DenialReason::Paused { key, pause: stop }, _) if key.is_empty() => pause(stop),
        (DenialReason::Paused { key, pause: stop }, _) => format!("key {key} {}", pause(stop)),
        (DenialReason::KeyUnavailable, _) => "no key in use".into(),
        (DenialReason::BudgetExhausted { budget }, _) => match budget {
            Some(budget) => format!("budget {budget}{}", of_limit(denial)),
            None => format!("the budgets of others{}", of_limit(denial)),
        },
        (DenialReason::OthersWait, _) => "others that wait".into(),
        (DenialReason::CallUnderWay, _) => "the call of another".into(),
        (DenialReason::CircuitOpen { key, circuit }, _) => of_key(key, &self::circuit(circuit)),
        (DenialReason::Paced { key, pace }, None) => of_key(key, &self::pace(pace)),
        (DenialReason::Paced { pace, .. }, Some(limit)) => format!("{limit} {}", self::pace(pace)),
    };
    let retry = match denial.retry_after {
        Some(retry_after) => format!("retry after {retry_after}"),
        None => "no time to retry".into(),
    };
    let of =
        if denial.alternative > 0 { format!(" (alternative {})", denial.alternative) } else { String::new() };
    let mut parts = vec![format!("denied by {by}{of}, {retry}")];
    for limit in &denial.exhausted {
        let of =
            if limit.scope_value.is_empty() { String::new() } else { format!(" of {}", limit.scope_value) };
        let cause = limit.budget.map(|cause| match cause {
            BudgetCause::Ceiling => " (its budget's ceiling)",
            BudgetCause::Reserve => " (kept for other budgets)",
            BudgetCause::Schedule => " (its budget is closed)",
        });
        parts.push(format!(
            "{}{of} {}/{} left, {} wanted, free in {}{}",
            limit.limit,
            limit.available,
            limit.amount,
            limit.requested,
            limit.retry_after,
            cause.unwrap_or_default()
        ));
    }
    parts.join("; ")
}

fn of_key(key: &Label, what: &str) -> String {
    if key.is_empty() { what.to_owned() } else { format!("key {key} {what}") }
}

fn of_limit(denial: &Denial) -> String {
    denial.limit.as_ref().map(|limit| format!(" at {limit}")).unwrap_or_default()
}

/// What operators ordered, in words.
fn orders(stored: &StoredResource) -> Vec<String> {
    let key = |KeyStatus { key, state, pause: stop }: &KeyStatus| {
        let state = format!("{state:?}").to_lowercase();
        let stop = stop.iter().map(|stop| format!(" {}", pause(stop)));
        format!("key {key} {state}{}", stop.collect::<String>())
    };
    let ordered = stored.pause.iter().map(pause).chain(stored.keys.iter().map(key));
    let circuits = stored
        .vendor
        .conditions
        .iter()
        .filter_map(|told| Some(told).zip(told.circuit.as_ref()))
        .map(|(told, status)| of_key(&told.key, &format!("{}{}", circuit(status), opening(status))));
    let paces = stored
        .vendor
        .conditions
        .iter()
        .filter_map(|told| Some(told).zip(told.pace.as_ref()))
        .map(|(told, status)| of_key(&told.key, &format!("{}{}", pace(status), cause(status))));
    let tightened = stored.vendor.tightened.iter().map(tightened);
    ordered.chain(circuits).chain(paces).chain(tightened).collect()
}

fn tightened(limit: &TightenedLimit) -> String {
    let TightenedLimit { limit, defined, amount, told } = limit;
    let told = told.iter().map(|told| format!(", the vendor said {} {} ago", told.amount, told.ago));
    let told = told.collect::<String>();
    match amount < defined {
        true => format!("{limit} tightened from {defined} to {amount}{told}"),
        false => format!("{limit} is {defined}{told}"),
    }
}

fn circuit(status: &CircuitStatus) -> String {
    let CircuitStatus { state, left, times_opened, .. } = status;
    match state {
        CircuitState::Closed => format!(
            "circuit closed, {} failures in a row, {} of {} calls failed",
            status.failures_in_row, status.failures, status.calls
        ),
        CircuitState::Open => format!("circuit open for {left} (opened {times_opened} times)"),
        CircuitState::HalfOpen => {
            format!(
                "circuit half-open, {} probes out, {} succeeded",
                status.probes_out, status.probes_succeeded
            )
        }
    }
}

/// Since when it has been open, and because of what.
fn opening(status: &CircuitStatus) -> String {
    let CircuitStatus { open_for: Some(open_for), opened_by: Some(by), .. } = status else {
        return String::new();
    };
    let CircuitStatus { failures_in_row, failures, calls, .. } = status;
    format!(
        ", first {open_for} ago after {failures_in_row} failures in a row, {failures} of {calls} calls (last: {by:?})"
    )
}

fn cause(status: &PaceStatus) -> String {
    status.cause.map(|cause| format!(" ({cause:?})")).unwrap_or_default()
}

/// A circuit that an entry turned.
pub fn turn(turn: &CircuitTurn) -> String {
    let status = match turn.circuit.state {
        CircuitState::Closed => format!("circuit closed (opened {} times)", turn.circuit.times_opened),
        _ => circuit(&turn.circuit),
    };
    of_key(&turn.key, &format!("{status}{}", opening(&turn.circuit)))
}

/// Rates in whole thousandths a second.
fn pace(pace: &PaceStatus) -> String {
    let rate = |rate: u64| format!("{}.{:03}/s", rate / 1_000_000, rate / 1_000 % 1_000);
    format!("paced at {} of {}, full in {}", rate(pace.rate), rate(pace.full_rate), pace.full_in)
}

fn pause(pause: &Pause) -> String {
    let left = pause.left.map_or("until resumed".into(), |left| format!("for {left}"));
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", pause.reason) };
    format!("paused {left}{reason}")
}

pub fn usage(usage: &ResourceUsage) -> String {
    let mut lines = orders(&usage.stored);
    for limit in &usage.limits {
        if limit.counters.is_empty() {
            lines.push(format!("{}: no counters", limit.limit));
        }
        lines.extend(limit.counters.iter().map(|figures| format!("{}{}", limit.limit, counter(figures))));
    }
    lines.extend(usage.held.iter().map(held));
    lines.push(format!("{} permits can be settled", usage.settleable_permits));
    lines.extend(usage.budgets.iter().flat_map(budget));
    // Without budgets it is who holds slots, which is told already.
    if !usage.budgets.is_empty() {
        lines.extend(usage.consumers.iter().map(consumer));
    }
    lines.join("\n")
}

fn budget(figures: &BudgetFigures) -> Vec<String> {
    let BudgetFigures { budget, open, changes_in, uses } = figures;
    let state = changes_in.map(|span| format!(" is {} for {span}", if *open { "open" } else { "closed" }));
    let uses = uses.iter().map(|of| {
        let value = if of.scope_value.is_empty() { String::new() } else { format!(" of {}", of.scope_value) };
        format!(
            "budget {budget}, {}{value}: {} used of at most {}, {}/{} reserved left",
            of.limit, of.used, of.ceiling, of.reserve_left, of.reserve
        )
    });
    state.map(|state| format!("budget {budget}{state}")).into_iter().chain(uses).collect()
}

fn consumer(figures: &ConsumerFigures) -> String {
    let uses: Vec<_> = figures.uses.iter().map(|of| format!("{} of {}", of.used, of.limit)).collect();
    let budget = figures.budget.as_ref().map(|budget| format!(" (budget {budget})")).unwrap_or_default();
    format!("consumer {:?}{budget} uses {}", figures.consumer.as_str(), uses.join(", "))
}

fn counter(figures: &CounterFigures) -> String {
    let CounterFigures { scope_value, amount, used, available, full_in, .. } = figures;
    let of = if scope_value.is_empty() { String::new() } else { format!(" of {scope_value}") };
    let mut text = format!("{of}: {used} used, {available}/{amount} left, full in {full_in}");
    if figures.used_by_others > 0 {
        text.push_str(&format!(", {} used by others", figures.used_by_others));
    }
    if !figures.held_for.is_zero() {
        text.push_str(&format!(", held for {}", figures.held_for));
    }
    if let Some(pace) = &figures.pace {
        text.push_str(&format!(", {}", self::pace(pace)));
    }
    text
}

fn held(slot: &HeldSlot) -> String {
    let by: Vec<_> = [&slot.consumer, &slot.subject, &slot.operation]
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| part.as_str())
        .collect();
    let (value, by) = (&slot.scope_value, by.join(" "));
    let of = if value.is_empty() { String::new() } else { format!(" of {value}") };
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    format!(
        "{}{of}: slot {} held by p{}{by} for {}, lease left {}",
        slot.limit, slot.index, slot.permit.0, slot.held_for, slot.lease_left
    )
}
