//! A value that many hold is encoded as the value itself. For `#[cbor(with = "…")]`.

use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};

pub(crate) fn encode<T, C, W>(
    value: &Arc<T>,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>>
where
    T: Encode<C>,
    W: minicbor::encode::Write,
{
    value.as_ref().encode(e, ctx)
}

pub(crate) fn decode<'b, T, C>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Arc<T>, minicbor::decode::Error>
where
    T: Decode<'b, C>,
{
    T::decode(d, ctx).map(Arc::new)
}
