//! A network that delays, loses, repeats and reorders, link by link and one way at a time.
//!
//! Real links are TCP streams, which never repeat or reorder; Raft is told to survive both, so here it has to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_limiter::Span;
use tollgate_server::raft::members::NodeId;

use super::random::Random;

/// What a network does to messages when nothing in particular is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather {
    /// The shortest way, in microseconds.
    pub delay_us_min: u64,
    /// The longest way, in microseconds.
    pub delay_us_max: u64,
    /// Of a thousand messages, how many are lost.
    pub lost_permille: u64,
    /// Of a thousand messages, how many arrive twice.
    pub repeated_permille: u64,
    /// Whether messages overtake one another.
    pub reorders: bool,
}

/// What a storm adds, in messages of a thousand.
const STORM_PERMILLE: u64 = 200;

/// All links.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    storm_until: Span,
    random: Random,
    links: BTreeMap<(NodeId, NodeId), Link>,
}

#[derive(Debug, Default)]
struct Link {
    cut_until: Span,
    last_arrival: Span,
}

/// When a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Never: it fell between.
    Lost,
    /// Never: the link is cut, and the sender's side may notice.
    Cut,
    /// Once.
    Once(Span),
    /// Twice.
    Twice(Span, Span),
}

impl Network {
    /// A network in which nothing is cut.
    pub fn new(weather: Weather, random: Random) -> Network {
        Network { weather, storm_until: Span::ZERO, random, links: BTreeMap::new() }
    }

    /// A message leaves; `size_ms` is what its size adds to the way.
    pub fn send(&mut self, now: Span, from: NodeId, to: NodeId, size_ms: u64) -> Delivery {
        let stormy = if now < self.storm_until { STORM_PERMILLE } else { 0 };
        let (lost, repeated) = (self.weather.lost_permille, self.weather.repeated_permille);
        if self.is_cut(now, from, to) {
            return Delivery::Cut;
        }
        if self.random.chance(lost + stormy) {
            return Delivery::Lost;
        }
        let first = self.arrival(now, from, to, size_ms);
        match self.random.chance(repeated + stormy) {
            true => Delivery::Twice(first, self.arrival(now, from, to, size_ms)),
            false => Delivery::Once(first),
        }
    }

    /// Whether nothing gets from here to there.
    pub fn is_cut(&self, now: Span, from: NodeId, to: NodeId) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| now < link.cut_until)
    }

    /// Whether nothing gets from one of these nodes to another of them.
    pub fn is_cut_among(&self, now: Span, is_meant: impl Fn(NodeId) -> bool) -> bool {
        self.links.iter().any(|((from, to), link)| now < link.cut_until && is_meant(*from) && is_meant(*to))
    }

    /// Nothing gets from here to there until then.
    pub fn cut(&mut self, from: NodeId, to: NodeId, until: Span) {
        let link = self.links.entry((from, to)).or_default();
        link.cut_until = link.cut_until.max(until);
    }

    /// Mends every link of a node.
    pub fn mend(&mut self, id: NodeId) {
        let own = self.links.iter_mut().filter(|((from, to), _)| *from == id || *to == id);
        own.for_each(|(_, link)| link.cut_until = Span::ZERO);
    }

    /// Until then, much is lost and repeated.
    pub fn storm(&mut self, until: Span) {
        self.storm_until = self.storm_until.max(until);
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.storm_until = Span::ZERO;
        self.links.values_mut().for_each(|link| link.cut_until = Span::ZERO);
    }

    fn arrival(&mut self, now: Span, from: NodeId, to: NodeId, size_ms: u64) -> Span {
        let way_us = self.random.between(self.weather.delay_us_min, self.weather.delay_us_max);
        let mut arrival = now + Span(way_us * 1_000) + Span::from_millis(size_ms);
        if !self.weather.reorders {
            let link = self.links.entry((from, to)).or_default();
            arrival = arrival.max(link.last_arrival);
            link.last_arrival = arrival;
        }
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAIR: Weather = Weather {
        delay_us_min: 100,
        delay_us_max: 900,
        lost_permille: 0,
        repeated_permille: 0,
        reorders: false,
    };

    fn network(weather: Weather) -> Network {
        Network::new(weather, Random::new(1, "network"))
    }

    #[test]
    fn a_cut_goes_one_way_and_ends() {
        let mut network = network(FAIR);
        network.cut(1, 2, Span::from_millis(5));
        assert_eq!(network.send(Span::ZERO, 1, 2, 0), Delivery::Cut);
        assert!(matches!(network.send(Span::ZERO, 2, 1, 0), Delivery::Once(_)));
        assert!(matches!(network.send(Span::from_millis(5), 1, 2, 0), Delivery::Once(_)));
        network.cut(1, 2, Span::from_millis(9));
        assert!(network.is_cut_among(Span::from_millis(6), |id| id < 3));
        assert!(!network.is_cut_among(Span::from_millis(6), |id| id != 2), "it is the link of another node");
        network.mend(2);
        assert!(!network.is_cut_among(Span::from_millis(6), |_| true));
        assert!(!network.is_cut(Span::from_millis(6), 1, 2));
    }

    #[test]
    fn only_a_network_that_reorders_lets_messages_overtake() {
        let overtaken = |weather: Weather| {
            let mut network = network(weather);
            let arrivals: Vec<_> = (0..200)
                .map(|us| match network.send(Span(us * 1_000), 1, 2, 0) {
                    Delivery::Once(at) => at,
                    other => panic!("{other:?}"),
                })
                .collect();
            arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count()
        };
        assert_eq!(overtaken(FAIR), 0);
        assert!(overtaken(Weather { reorders: true, ..FAIR }) > 20);
    }

    #[test]
    fn a_storm_loses_and_repeats() {
        let mut network = network(FAIR);
        network.storm(Span::from_secs(1));
        let sent: Vec<_> = (0..500).map(|_| network.send(Span::ZERO, 1, 2, 0)).collect();
        assert!(sent.iter().filter(|delivery| **delivery == Delivery::Lost).count() > 50);
        assert!(sent.iter().filter(|delivery| matches!(delivery, Delivery::Twice(..))).count() > 50);
    }
}
