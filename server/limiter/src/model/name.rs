//! Names, each with its rule, so that inside they cannot be wrong.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Why a text is not a name. Displays as what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing where something is required.
    #[error("must not be empty")]
    Empty,
    /// Too many bytes.
    #[error("is {length} bytes long, at most {max} are allowed")]
    TooLong {
        /// As given.
        length: usize,
        /// As allowed.
        max: usize,
    },
    /// Characters or an order of them that the rule does not allow.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Absent where it is empty, as most optional names are: copies of those count nobody. The order is that of the text.
type Text = Option<Arc<str>>;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, max $max:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Text);

        impl $name {
            /// The most bytes it can have.
            pub const MAX_BYTES: usize = $max;

            /// Checks the text against the rule.
            pub fn new(text: &str) -> Result<Self, BadName> {
                if text.len() > Self::MAX_BYTES {
                    return Err(BadName::TooLong { length: text.len(), max: Self::MAX_BYTES });
                }
                let rule: fn(&str) -> Result<(), BadName> = $rule;
                rule(text)?;
                Ok(Self((!text.is_empty()).then(|| text.into())))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                self.0.as_deref().unwrap_or_default()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                self.as_str().hash(hasher);
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(self.as_str())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Self::new(d.str()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))
            }
        }
    };
}

name!(
    /// A resource: parts such as `salesforce/acme`, of lower-case letters, digits, `.`, `_`, `-`, divided by `/`.
    ResourceName, max 200, |text| {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.split('/').all(|part| is_identifier(part, b"._-")) { Ok(()) } else { Err(BadName::Malformed(
            "must be parts of lower-case letters, digits, '.', '_' and '-' that begin with a letter or digit, divided by '/'",
        )) }
    }
);

name!(
    /// A limit or a dimension: lower-case letters, digits, `_`, `-`.
    LimitName, max 64, |text| {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if is_identifier(text, b"_-") { Ok(()) } else { Err(BadName::Malformed(
            "must be lower-case letters, digits, '_' and '-', beginning with a letter or digit",
        )) }
    }
);

/// What an amount is counted in, such as `input_tokens`. Named as limits are.
pub type Dimension = LimitName;

name!(
    /// Free text without control characters that names a consumer, a subject, a key or an operation. May be empty where
    /// the field is optional.
    #[derive(Default)]
    Label, max 200, |text| no_control_characters(text)
);

name!(
    /// What a client calls one request by, over all its retries.
    RequestId, max 128, |text| if text.is_empty() { Err(BadName::Empty) } else { no_control_characters(text) }
);

name!(
    /// What requests for the same thing are known by, within their resource: such as `contact/42`, or the id of an event.
    CoalesceKey, max 256, |text| if text.is_empty() { Err(BadName::Empty) } else { no_control_characters(text) }
);

name!(
    /// What some coalesce keys begin with; all do if it is empty.
    #[derive(Default)]
    CoalesceKeyPrefix, max 256, |text| no_control_characters(text)
);

name!(
    /// Free text for people.
    #[derive(Default)]
    Description, max 1000, |_| Ok(())
);

name!(
    /// An IANA time zone that the bundled database knows, such as `America/New_York`. The database is part of the binary,
    /// never the machine's, so that all nodes agree.
    TimeZoneName, max 64, |text| match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(BadName::Malformed("is not an IANA time zone such as America/New_York")),
    }
);

impl Label {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

fn is_identifier(text: &str, also: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(plain) && text.bytes().all(|b| plain(b) || also.contains(&b))
}

fn no_control_characters(text: &str) -> Result<(), BadName> {
    match text.chars().any(char::is_control) {
        true => Err(BadName::Malformed("must not contain control characters")),
        false => Ok(()),
    }
}
