//! How old news may be.
//!
//! What a peer's wall clock showed is worth little without knowing when: it may have been on its way for long, through a
//! link that was cut or to a process that was stopped. So each process tells what its monotonic clock shows, and each
//! repeats what it has last heard from the other. News that repeats a moment of this process was sent after that moment
//! (the bound of NTP, RFC 5905, without its assumption that both ways take as long).

use std::collections::BTreeMap;

use tollgate_limiter::Span;

use super::members::NodeId;

/// What the monotonic clock of one process showed: means nothing to any other, but to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which process: its clock began anew when it did.
    pub process: u64,
    /// What its clock showed.
    pub monotonic: Span,
}

/// The last moments that one process has heard of.
#[derive(Clone, Debug)]
pub struct Echoes {
    process: u64,
    heard: BTreeMap<NodeId, Moment>,
}

impl Echoes {
    /// Those of a process that has just begun, under a number that no process had before it.
    pub fn new(process: u64) -> Echoes {
        Echoes { process, heard: BTreeMap::new() }
    }

    /// The number of this process.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// The present, to be told to all.
    pub fn moment(&self, monotonic: Span) -> Moment {
        Moment { process: self.process, monotonic }
    }

    /// What is to be repeated to a peer.
    pub fn of(&self, peer: NodeId) -> Option<Moment> {
        self.heard.get(&peer).copied()
    }

    /// A peer told its moment and repeated one, as far as it had heard any. Returns what this process's clock showed before
    /// the peer said this, if that is known.
    pub fn hear(&mut self, peer: NodeId, told: Option<Moment>, repeated: Option<Moment>) -> Option<Span> {
        if let Some(told) = told {
            self.heard.insert(peer, told);
        }
        repeated.filter(|moment| moment.process == self.process).map(|moment| moment.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_says_how_old_the_news_is_at_most() {
        let (mut one, mut two) = (Echoes::new(1), Echoes::new(2));
        let asked = one.moment(Span::from_secs(5));
        assert_eq!(two.hear(1, Some(asked), one.of(2)), None);
        let told = two.moment(Span::from_secs(70));
        assert_eq!(one.hear(2, Some(told), two.of(1)), Some(Span::from_secs(5)));
    }

    #[test]
    fn moments_of_the_process_before_are_not_its_own() {
        let mut two = Echoes::new(2);
        two.hear(1, Some(Echoes::new(1).moment(Span::from_secs(5))), None);
        let mut restarted = Echoes::new(3);
        assert_eq!(restarted.hear(2, None, two.of(1)), None);
    }
}
