//! Pauses and the states of keys, from the wire and for it.

use tollgate_limiter::{
    Command, KeyState, KeyStatus, Label, Pause, PauseResource, ResourceName, ResumeResource, SetKeyState,
};
use tollgate_proto::v1;

use super::{Fields, Invalid, duration};

const KEY_STATES: &str = "KEY_STATE_ACTIVE, KEY_STATE_DRAINING or KEY_STATE_DISABLED";

/// Reads and checks the order to pause.
pub fn pausing(request: &v1::PauseResourceRequest) -> Result<Command, Invalid> {
    let mut fields = Fields::default();
    let resource = fields.name("name", ResourceName::new(&request.name));
    let key = fields.name("key", Label::new(&request.key));
    let left = fields.span_within("duration", request.duration, Pause::SHORTEST..=Pause::LONGEST);
    let reason = fields.name("reason", Label::new(&request.reason));
    let order = resource.zip(key).zip(reason).map(|((resource, key), reason)| {
        Command::PauseResource(PauseResource { resource, key, pause: Pause { left, reason } })
    });
    fields.finish(order)
}

/// Reads and checks the order to resume.
pub fn resumption(request: &v1::ResumeResourceRequest) -> Result<Command, Invalid> {
    let mut fields = Fields::default();
    let resource = fields.name("name", ResourceName::new(&request.name));
    let key = fields.name("key", Label::new(&request.key));
    let order = resource.zip(key).map(|(resource, key)| {
        Command::ResumeResource(ResumeResource { resource, key, all_keys: request.key.is_empty() })
    });
    fields.finish(order)
}

/// Reads and checks what shall become of a key.
pub fn key_change(request: &v1::SetKeyStateRequest) -> Result<Command, Invalid> {
    let mut fields = Fields::default();
    let resource = fields.name("name", ResourceName::new(&request.name));
    let key = match request.key.as_str() {
        "" => {
            fields.reject("key", "is required");
            None
        }
        key => fields.name("key", Label::new(key)),
    };
    let state = fields.variant("state", request.state, KEY_STATES).and_then(|state| match state {
        v1::KeyState::Unspecified => {
            fields.reject("state", format_args!("is required: {KEY_STATES}"));
            None
        }
        v1::KeyState::Active => Some(KeyState::Active),
        v1::KeyState::Draining => Some(KeyState::Draining),
        v1::KeyState::Disabled => Some(KeyState::Disabled),
    });
    let order = resource
        .zip(key)
        .zip(state)
        .map(|((resource, key), state)| Command::SetKeyState(SetKeyState { resource, key, state }));
    fields.finish(order)
}

/// A pause that is in force.
pub fn pause(pause: Pause) -> v1::Pause {
    v1::Pause { left: pause.left.map(duration), reason: pause.reason.to_string() }
}

/// What was ordered about a key.
pub fn key_status(status: KeyStatus) -> v1::KeyStatus {
    let state = match status.state {
        KeyState::Active => v1::KeyState::Active,
        KeyState::Draining => v1::KeyState::Draining,
        KeyState::Disabled => v1::KeyState::Disabled,
    };
    v1::KeyStatus { key: status.key.to_string(), state: state.into(), pause: status.pause.map(pause) }
}
