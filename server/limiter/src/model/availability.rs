//! Whether a resource and its keys may be used at all: what operators order, beside what the limits allow.

use minicbor::{Decode, Encode};

use super::{Label, PermitId, ResourceName, Span};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum KeyState {
    /// New permits take it.
    #[default]
    #[n(0)]
    Active,
    /// No new permit takes it; those that have it go on, and can be renewed, until they end.
    #[n(1)]
    Draining,
    /// No new permit takes it, and none that has it can be renewed: the credential must not be used any more.
    #[n(2)]
    Disabled,
}

/// Nothing is granted for a while. What was granted before goes on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pause {
    /// How much longer; absent: until it is resumed.
    #[n(0)]
    pub left: Option<Span>,
    /// For people; may be empty.
    #[n(1)]
    pub reason: Label,
}

impl Pause {
    /// The shortest pause that can be ordered.
    pub const SHORTEST: Span = Span::from_millis(1);
    /// The longest with an end: as the longest period of a limit.
    pub const LONGEST: Span = Span::from_secs(400 * 24 * 3600);
}

/// A key about which something was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyStatus {
    /// Which.
    #[n(0)]
    pub key: Label,
    /// What becomes of it.
    #[n(1)]
    pub state: KeyState,
    /// While it is paused.
    #[n(2)]
    pub pause: Option<Pause>,
}

/// Pause a resource or one of its keys. Takes the place of an earlier pause of the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PauseResource {
    /// Which.
    #[n(0)]
    pub resource: ResourceName,
    /// Which of its keys; empty: the resource as a whole.
    #[n(1)]
    pub key: Label,
    /// How long from now and why.
    #[n(2)]
    pub pause: Pause,
}

/// End a pause before its time, and what came of the vendor's answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ResumeResource {
    /// Which.
    #[n(0)]
    pub resource: ResourceName,
    /// Which of its keys; empty: the resource as a whole. The pauses that operators ordered of its keys stay.
    #[n(1)]
    pub key: Label,
    /// Without a key: what came of the vendor's answers ends for all keys, too. Not so in logs from before that.
    #[cbor(n(2), default)]
    pub all_keys: bool,
}

/// Say what becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SetKeyState {
    /// Of which resource.
    #[n(0)]
    pub resource: ResourceName,
    /// Which key.
    #[n(1)]
    pub key: Label,
    /// From now on.
    #[n(2)]
    pub state: KeyState,
}

/// A vendor said to wait: grant nothing for so long. Never shortens an earlier wait, so reports may come late and in any order;
/// and leaves alone what operators ordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HoldBack {
    /// Whose call it was.
    #[n(0)]
    pub called: Called,
    /// From now on: [`Pause::SHORTEST`] to [`HoldBack::LONGEST`].
    #[n(1)]
    pub wait: Span,
    /// For people.
    #[n(2)]
    pub reason: Label,
}

/// What a vendor was called with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Called {
    /// A permit that is live: its key is meant, or without keys its resource.
    #[n(0)]
    With(#[n(0)] PermitId),
    /// A key of a resource; empty: the resource as a whole.
    #[n(1)]
    Of {
        /// The resource.
        #[n(0)]
        resource: ResourceName,
        /// The key.
        #[n(1)]
        key: Label,
    },
}

impl HoldBack {
    /// The longest wait that one answer can cause, however long it says: whoever is still limited then says so again, and a
    /// header that lies costs no more than that.
    pub const LONGEST: Span = Span::from_secs(3600);
}
