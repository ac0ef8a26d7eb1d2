//! Lists that almost always are short lie in the value that has them, without an allocation of their own; they are encoded
//! as any list. For `#[cbor(with = "…")]`.

use minicbor::{Decode, Decoder, Encode, Encoder};
use smallvec::{Array, SmallVec};

pub(crate) fn encode<A, C, W>(
    list: &SmallVec<A>,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>>
where
    A: Array,
    A::Item: Encode<C>,
    W: minicbor::encode::Write,
{
    list.as_slice().encode(e, ctx)
}

pub(crate) fn decode<'b, A, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<SmallVec<A>, minicbor::decode::Error>
where
    A: Array,
    A::Item: Decode<'b, C>,
{
    Vec::decode(d, ctx).map(SmallVec::from_vec)
}
