//! One call for many that want the same: its result, how long that is kept, and when it is dropped.

use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};

use super::{CoalesceKey, CoalesceKeyPrefix, ResourceName, Span};

/// The lease of a permit with a coalesce key that asks for none and holds no slot. The public API states it.
pub const COALESCED_LEASE_DEFAULT: Span = Span::from_secs(60);

/// How long after the end of its lease a permit with a coalesce key and without slots still keeps others from the call, for a
/// holder whose clock runs slow: as the default of a slot's grace. The public API states it.
pub const COALESCED_GRACE: Span = Span::from_secs(5);

/// What a call was answered with, for others that want the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CallResult {
    /// Whatever the workers understand; may be empty.
    #[n(0)]
    pub bytes: ResultBytes,
    /// How long it is kept: [`CallResult::TTL_MIN`] to [`CallResult::TTL_MAX`].
    #[n(1)]
    pub ttl: Span,
}

impl CallResult {
    /// So long a result is kept at least, and by default: those who wait for it fetch it through the log, also when they have
    /// to find another leader first.
    pub const TTL_MIN: Span = Span::from_secs(5);
    /// Longer than vendors repeat a webhook that was not acknowledged.
    pub const TTL_MAX: Span = Span::from_secs(7 * 24 * 3600);
}

/// A result of at most [`ResultBytes::MAX`] bytes. Copies share them: many may be told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultBytes(Arc<[u8]>);

/// More bytes than a result may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is {length} bytes long, at most {max} are allowed", max = ResultBytes::MAX)]
pub struct ResultTooLong {
    /// As given.
    pub length: usize,
}

impl ResultBytes {
    /// The most bytes of a result: a record, not a document.
    pub const MAX: usize = 16 << 10;

    /// Checks the length.
    pub fn new(bytes: &[u8]) -> Result<ResultBytes, ResultTooLong> {
        match bytes.len() {
            0..=Self::MAX => Ok(ResultBytes(bytes.into())),
            length => Err(ResultTooLong { length }),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl<C> Encode<C> for ResultBytes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ResultBytes {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.bytes()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))
    }
}

/// What another request with the same key has found out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SharedResult {
    /// As its holder gave it.
    #[n(0)]
    pub bytes: ResultBytes,
    /// Since its holder gave it.
    #[n(1)]
    pub age: Span,
}

/// Drop results, and let no call that is under way leave one: what it found may be outdated.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InvalidateResults {
    /// Of which resource.
    #[n(0)]
    pub resource: ResourceName,
    /// Under which keys.
    #[n(1)]
    pub keys: CoalesceKeys,
}

/// Some keys of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CoalesceKeys {
    /// This one.
    #[n(0)]
    One(#[n(0)] CoalesceKey),
    /// All that begin so.
    #[n(1)]
    With(#[n(0)] CoalesceKeyPrefix),
}

impl CoalesceKeys {
    /// Whether the key is one of them.
    pub fn contain(&self, key: &CoalesceKey) -> bool {
        match self {
            CoalesceKeys::One(one) => one == key,
            CoalesceKeys::With(prefix) => key.as_str().starts_with(prefix.as_str()),
        }
    }
}
