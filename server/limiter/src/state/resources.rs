//! All resources, by name.
//!
//! Of many resources each request is for another one, and to compare names on the way to it would wait for memory at every
//! step. So states are found by a hash of their name, in buckets that grow one at a time (Litwin, 1980, "Linear hashing: a new
//! tool for file and table addressing"). What is to be seen in an order is seen in that of the names, which are kept apart;
//! hashes are not encoded.
//!
//! Buckets are sorted by hash and name, so that names which somebody has made to fall into one bucket are still found by halving:
//! what they make slow is the first change after a copy, which copies the bucket.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::FixedState;
use minicbor::{Decode, Decoder, Encode, Encoder};

use super::{CowMap, ResourceState, Shared};
use crate::model::ResourceName;

/// States in a bucket on average: few enough that copying it is unnoticeable, enough that a copy of all has few pointers.
const BUCKET_MEAN: usize = 32;

/// Sorted by hash and name.
type Bucket = Vec<(u64, Shared<ResourceState>)>;

/// See the module's documentation. Copies share what neither has changed since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resources {
    names: CowMap<ResourceName, ()>,
    buckets: Vec<Arc<Bucket>>,
}

/// The same in every process, though nothing depends on it.
fn hash(name: &ResourceName) -> u64 {
    FixedState::default().hash_one(name)
}

/// Where a state is, until a resource is added or removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    bucket: usize,
    at: usize,
}

impl Resources {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn find(&self, name: &ResourceName) -> Option<Place> {
        self.search(hash(name), name)?.ok()
    }

    /// Where the resource of that name is, if there is one; to say so for certain would be to wait for it.
    pub(super) fn near(&self, name: &ResourceName) -> Option<Place> {
        let hash = hash(name);
        let bucket = bucket_of(hash, self.buckets.len())?;
        let at = self.buckets[bucket].partition_point(|(other, _)| *other < hash);
        (at < self.buckets[bucket].len()).then_some(Place { bucket, at })
    }

    /// What is at a place that was found.
    pub(crate) fn at(&self, place: Place) -> &ResourceState {
        &self.buckets[place.bucket][place.at].1
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, place: Place) -> &mut ResourceState {
        &mut Arc::make_mut(&mut self.buckets[place.bucket])[place.at].1
    }

    pub(crate) fn get(&self, name: &ResourceName) -> Option<&ResourceState> {
        self.find(name).map(|place| self.at(place))
    }

    pub(crate) fn get_mut(&mut self, name: &ResourceName) -> Option<&mut ResourceState> {
        self.find(name).map(|place| self.at_mut(place))
    }

    /// Adds a resource, or replaces the one of that name.
    pub(crate) fn insert(&mut self, state: Shared<ResourceState>) {
        let name = state.definition.name.clone();
        let hash = hash(&name);
        if self.len() >= self.buckets.len() * BUCKET_MEAN {
            self.add_bucket();
        }
        match self.search(hash, &name) {
            Some(Ok(Place { bucket, at })) => Arc::make_mut(&mut self.buckets[bucket])[at].1 = state,
            Some(Err(Place { bucket, at })) => {
                Arc::make_mut(&mut self.buckets[bucket]).insert(at, (hash, state));
                self.names.insert(name, ());
            }
            None => unreachable!("a bucket was added before"),
        }
    }

    pub(crate) fn remove(&mut self, name: &ResourceName) -> Option<Shared<ResourceState>> {
        let Place { bucket, at } = self.find(name)?;
        self.names.remove(name);
        Some(Arc::make_mut(&mut self.buckets[bucket]).remove(at).1)
    }

    /// The names that come after one; all without one.
    pub(crate) fn names_after(&self, name: Option<&ResourceName>) -> impl Iterator<Item = &ResourceName> {
        self.names.iter_after(name).map(|(name, ())| name)
    }

    /// In the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ResourceState> {
        self.names_after(None).filter_map(|name| self.get(name))
    }

    /// Frees them, and asks for a `rest` after every few.
    pub(crate) fn free_with_rests(self, rest: &mut impl FnMut()) {
        self.names.free_with_rests(rest);
        for bucket in self.buckets {
            drop(bucket);
            rest();
        }
    }

    /// Where the name is, or where it is to come; nowhere before there is a bucket.
    fn search(&self, hash: u64, name: &ResourceName) -> Option<Result<Place, Place>> {
        let bucket = bucket_of(hash, self.buckets.len())?;
        let compare = |(other, state): &(u64, Shared<ResourceState>)| {
            other.cmp(&hash).then_with(|| state.definition.name.cmp(name))
        };
        let found = self.buckets[bucket].binary_search_by(compare);
        Some(found.map(|at| Place { bucket, at }).map_err(|at| Place { bucket, at }))
    }

    /// One bucket more, with what belongs there: all of it is in one other.
    fn add_bucket(&mut self) {
        let added = self.buckets.len();
        let mut bucket = Bucket::new();
        if let Some(split) = bucket_of(added as u64, added) {
            let belongs = |(hash, _): &mut (u64, _)| bucket_of(*hash, added + 1) == Some(added);
            bucket.extend(Arc::make_mut(&mut self.buckets[split]).extract_if(.., belongs));
        }
        self.buckets.push(Arc::new(bucket));
    }
}

/// The lowest bits that tell so many buckets apart; one bit less where that bucket is yet to come.
fn bucket_of(hash: u64, buckets: usize) -> Option<usize> {
    let mask = buckets.checked_next_power_of_two().filter(|_| buckets > 0)? - 1;
    let bucket = hash as usize & mask;
    Some(if bucket < buckets { bucket } else { bucket & (mask >> 1) })
}

/// Equal when the states are: how they are divided into buckets depends on the history and means nothing.
impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.iter().eq(other.iter())
    }
}

impl Eq for Resources {}

/// A map from names to states, in the order of the names.
impl<C> Encode<C> for Resources {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(self.len() as u64)?;
        for state in self.iter() {
            state.definition.name.encode(e, ctx)?;
            state.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Resources {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let malformed = minicbor::decode::Error::message;
        let mut resources = Resources::default();
        for _ in 0..d.map()?.ok_or_else(|| malformed("a map without its length"))? {
            let name = ResourceName::decode(d, ctx)?;
            let state = Shared::<ResourceState>::decode(d, ctx)?;
            if state.definition.name != name {
                return Err(malformed("a resource under the name of another"));
            }
            resources.insert(state);
        }
        Ok(resources)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ops::Bound};

    use proptest::prelude::*;

    use super::{
        super::{fetch::AHEAD, resource::tests::unlimited},
        *,
    };

    fn name(number: u16) -> ResourceName {
        ResourceName::new(&format!("acme-{number}")).unwrap()
    }

    fn state(number: u16, generation: u64) -> Shared<ResourceState> {
        let mut state = unlimited(name(number));
        state.generation = generation;
        Shared::new(state)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behave_as_a_b_tree_map_and_copies_do_not_notice_changes(
            changes in prop::collection::vec((0u16..300, 0u8..3), 0..900),
            copy_at in 0usize..900,
        ) {
            let (mut resources, mut model) = (Resources::default(), BTreeMap::new());
            let mut copy = (resources.clone(), model.clone());
            for (step, (number, change)) in changes.into_iter().enumerate() {
                if step == copy_at {
                    copy = (resources.clone(), model.clone());
                }
                let (generation, name) = (step as u64, name(number));
                match change {
                    0 => {
                        let removed = resources.remove(&name).map(|state| state.generation);
                        prop_assert_eq!(removed, model.remove(&name));
                    }
                    1 => {
                        if let Some(state) = resources.get_mut(&name) {
                            state.generation = generation;
                            model.insert(name.clone(), generation);
                        }
                    }
                    _ => {
                        resources.insert(state(number, generation));
                        model.insert(name.clone(), generation);
                    }
                }
                prop_assert_eq!(resources.get(&name).map(|state| state.generation), model.get(&name).copied());
            }
            for (resources, model) in [(resources, model), copy] {
                prop_assert_eq!(resources.len(), model.len());
                let all = resources.iter().map(|state| (&state.definition.name, &state.generation));
                prop_assert!(all.eq(model.iter()));
                let (second, after) = (name(2), (Bound::Excluded(name(2)), Bound::Unbounded));
                prop_assert!(resources.names_after(Some(&second)).eq(model.range(after).map(|(name, _)| name)));
                resources.fetch(model.keys().take(AHEAD).chain([&second]));
                let states = resources.iter().map(|state| (state.definition.name.clone(), state));
                let bytes = minicbor::to_vec(&resources).unwrap();
                prop_assert_eq!(&bytes, &minicbor::to_vec(states.collect::<BTreeMap<_, _>>()).unwrap());
                prop_assert_eq!(minicbor::decode::<Resources>(&bytes).unwrap(), resources.clone());
                let (buckets, mut rests) = (resources.buckets.len(), 0);
                resources.free_with_rests(&mut || rests += 1);
                prop_assert!(rests >= buckets);
            }
        }
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut resources = Resources::default();
        resources.buckets.push(Arc::new(Bucket::new()));
        for number in 0..100 {
            let place = resources.search(7, &name(number)).unwrap().unwrap_err();
            Arc::make_mut(&mut resources.buckets[0]).insert(place.at, (7, state(number, number.into())));
        }
        for number in 0..100 {
            let place = resources.search(7, &name(number)).unwrap().unwrap();
            assert_eq!(resources.at(place).generation, u64::from(number));
        }
    }

    #[test]
    fn buckets_are_split_as_they_are_added() {
        for buckets in 1..200 {
            for hash in (0..64).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                let (before, after) =
                    (bucket_of(hash, buckets).unwrap(), bucket_of(hash, buckets + 1).unwrap());
                assert!(before < buckets);
                assert!(
                    after == before || (after, Some(before)) == (buckets, bucket_of(buckets as u64, buckets))
                );
            }
        }
    }
}
