//! What hardly any resource has: nothing is allocated as long as it is blank.

use std::ops::{Deref, DerefMut};

use minicbor::{Decode, Decoder, Encode, Encoder};

use super::Shared;

/// A value that is mostly blank, shared by copies of the state as [`Shared`] is, and encoded as if it were always there.
#[derive(Clone, Debug)]
pub(crate) struct Rare<T>(Option<Shared<T>>);

/// A type with a value that stands for nothing; its default.
pub(crate) trait Blank: Default + PartialEq + 'static {
    fn blank() -> &'static Self;
}

impl<T: Blank> Rare<T> {
    pub(crate) fn new(value: T) -> Self {
        Rare((value != *T::blank()).then(|| Shared::new(value)))
    }
}

impl<T: Clone> Rare<T> {
    /// The value, unless it is blank: for changes that change nothing there.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Rare(None)
    }
}

impl<T: Blank> Deref for Rare<T> {
    type Target = T;
    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => T::blank(),
        }
    }
}

impl<T: Blank + Clone> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Blank> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Blank + Eq> Eq for Rare<T> {}

impl<C, T: Blank + Encode<C>> Encode<C> for Rare<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (**self).encode(e, ctx)
    }
}

impl<'b, C, T: Blank + Decode<'b, C>> Decode<'b, C> for Rare<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        T::decode(d, ctx).map(Rare::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Blank for u8 {
        fn blank() -> &'static u8 {
            &0
        }
    }

    #[test]
    fn a_blank_value_is_not_kept_and_what_is_kept_may_be_blank_again() {
        let mut rare = Rare::<u8>::default();
        assert_eq!((*rare, rare.get_mut()), (0, None));
        *rare += 7;
        assert_eq!((*rare, &rare), (7, &Rare::new(7)));
        *rare = 0;
        assert_eq!((&rare, Rare::new(0).get_mut()), (&Rare::default(), None));
        assert_eq!(minicbor::to_vec(&rare).unwrap(), minicbor::to_vec(0u8).unwrap());
        let decoded: Rare<u8> = minicbor::decode(&minicbor::to_vec(9u8).unwrap()).unwrap();
        assert_eq!(decoded, Rare::new(9));
    }
}
