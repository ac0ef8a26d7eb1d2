//! Whatever the wire brings, reading it neither panics nor lets anything through that breaks a rule; what is refused is told
//! by the names of its fields; and what is let through survives the way back, over the wire, a file and the log.

mod definitions;
mod orders;
pub mod permits;

use std::{fmt::Debug, sync::LazyLock};

use minicbor::{Decode, Encode};
use proptest::{option, prelude::*, test_runner::TestCaseError};
use prost::Message;
use prost_types::{DescriptorProto, Duration, FileDescriptorSet};
use tollgate_limiter::MAX_AMOUNT;
use tollgate_proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use crate::grpc::status::Failure;

/// An error travels in headers, of which clients take 8 KiB.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// Mostly plausible, sometimes at the edge of what the wire can say.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1..2_000u64, 1 => Just(0), 1 => Just(MAX_AMOUNT), 1 => any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 1..100u32, 1 => any::<u32>()]
}

fn variant() -> impl Strategy<Value = i32> {
    prop_oneof![30 => 0..4i32, 1 => any::<i32>()]
}

/// Also negative, and with nanoseconds of any sign and number.
pub fn duration() -> impl Strategy<Value = Option<Duration>> {
    let plausible = (0..100_000i64, 0..1_000i32)
        .prop_map(|(seconds, millis)| Duration { seconds, nanos: millis * 1_000_000 });
    let any = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Duration { seconds, nanos });
    option::weighted(0.9, prop_oneof![30 => plausible, 1 => any])
}

/// Mostly none, or one that is allowed for most things.
pub fn seldom_a_duration() -> impl Strategy<Value = Option<Duration>> {
    let allowed = (1..3_600i64).prop_map(|seconds| Some(Duration { seconds, nanos: 0 }));
    prop_oneof![12 => Just(None), 6 => allowed, 1 => duration()]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![30 => "[a-z][a-z0-9_-]{0,8}", 1 => any::<String>()]
}

/// Mostly a name, sometimes nothing that anybody would call one: without end, of control characters, a number that is none.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => "[a-z][a-z0-9_-]{0,8}",
        1 => Just("x".repeat(10_000)),
        1 => Just("\u{0}\r\n\u{7f}\u{85}".to_owned()),
        1 => Just("NaN".to_owned()),
        1 => any::<String>(),
    ]
}

static DESCRIPTORS: LazyLock<FileDescriptorSet> =
    LazyLock::new(|| FileDescriptorSet::decode(v1::FILE_DESCRIPTOR_SET).expect("it is compiled in"));

fn described(message: &str) -> Option<&'static DescriptorProto> {
    let files = DESCRIPTORS.file.iter().filter(|file| file.package() == "tollgate.v1");
    files.flat_map(|file| &file.message_type).find(|described| described.name() == message)
}

/// Whether a path such as `feedback.status` or `amounts["tokens"]` leads to a field, or to a group of which one is to be set, of
/// that message of the public API.
pub fn is_in(message: &str, path: &str) -> bool {
    let Some(message) = described(message) else { return false };
    let (name, within) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    if message.oneof_decl.iter().any(|group| group.name() == name) {
        return within.is_empty();
    }
    let Some(field) = message.field.iter().find(|field| field.name() == name) else { return false };
    let within = match within.strip_prefix('[') {
        Some(element) => element.split_once(']').map_or(element, |(_, within)| within),
        None => within,
    };
    match within.strip_prefix('.') {
        Some(within) => field.type_name().strip_prefix(".tollgate.v1.").is_some_and(|of| is_in(of, within)),
        None => within.is_empty(),
    }
}

/// Each wrong field is one of the message, and the error is small. Of a permit that this cluster never made it is only said that it
/// is not there.
fn is_told(failure: impl Into<Failure>, message: &str) -> Result<(), TestCaseError> {
    let failure: Failure = failure.into();
    let status = failure.into_status();
    prop_assert!(status.message().len() + status.details().len() < ERROR_BYTES_MAX, "{:?}", status);
    let details = status.get_error_details();
    if status.code() == Code::NotFound {
        let reason = details.error_info().map(|info| info.reason.as_str());
        prop_assert_eq!(reason, Some("PERMIT_NOT_FOUND"));
        return Ok(());
    }
    prop_assert_eq!(status.code(), Code::InvalidArgument, "{:?}", status);
    let wrong = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    prop_assert!(!wrong.is_empty(), "{:?}", status);
    for violation in wrong {
        prop_assert!(is_in(message, &violation.field), "{} is not a field of {}", violation.field, message);
        prop_assert!(!violation.description.is_empty(), "{:?}", violation);
    }
    Ok(())
}

/// It is the same once it was written to the log, or handed to another node.
fn survives<T>(told: &T) -> Result<(), TestCaseError>
where
    T: Encode<()> + for<'b> Decode<'b, ()> + Debug + PartialEq,
{
    let bytes = minicbor::to_vec(told).expect("a vector takes every write");
    let read: T = minicbor::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, told);
    Ok(())
}
