//! Clocks that are wrong, late or silent.

use proptest::prelude::*;
use tollgate_limiter::ClusterTime;

use super::*;

const VOTERS: &[NodeId] = &[1, 2, 3];
const DAY_MS: i64 = 86_400_000;

fn at(monotonic_ms: u64, wall_ms: i64) -> Reading {
    Reading { monotonic: Span::from_millis(monotonic_ms), wall: WallTime(wall_ms * 1_000_000) }
}

/// A peer's clock is heard of without delay.
fn tell(clock: &mut ClusterClock, peer: NodeId, wall_ms: i64, now: Reading) {
    clock.hear(peer, WallTime(wall_ms * 1_000_000), Some(now.monotonic), now);
}

/// An entry of the leader in term 2, which lives, comes without delay.
fn present(state: Stamp, now: Reading) -> Stamped {
    Stamped { state, term: Some(2), before: now.monotonic, is_present: true }
}

fn state(cluster_ms: u64, wall_ms: i64) -> Stamp {
    Stamp { cluster: ClusterTime(cluster_ms * 1_000_000), wall: WallTime(wall_ms * 1_000_000) }
}

#[test]
fn a_jump_of_the_own_wall_clock_changes_nothing() {
    let mut clock = ClusterClock::new(1);
    clock.follow(present(state(500, 10_000), at(100, 10_000)));
    tell(&mut clock, 2, 10_000, at(100, 10_000));
    tell(&mut clock, 3, 10_000, at(100, 10_000));
    for jump_ms in [0, DAY_MS, -DAY_MS] {
        let stamp = clock.stamp(state(500, 10_000), VOTERS, at(350, 10_250 + jump_ms));
        assert_eq!(stamp, state(750, 10_250), "jump of {jump_ms} ms");
    }
}

#[test]
fn after_a_restart_time_stands_still_until_a_quorum_was_read() {
    let mut clock = ClusterClock::new(1);
    let last = state(500, 10_000);
    assert_eq!(clock.resume(last, last.wall, VOTERS, at(50, 70_000)), None);
    assert_eq!(clock.stamp(last, VOTERS, at(60, 70_010)), last);
    tell(&mut clock, 2, 70_005, at(60, 70_010));
    assert!(clock.resume(last, last.wall, VOTERS, at(60, 70_010)).is_some());
    assert_eq!(clock.stamp(last, VOTERS, at(60, 70_010)), state(60_505, 70_005));
}

#[test]
fn one_clock_in_the_future_creates_no_time() {
    for wrong in VOTERS {
        let wall = |id: NodeId| 10_000 + if id == *wrong { DAY_MS } else { 0 };
        let mut clock = ClusterClock::new(1);
        tell(&mut clock, 2, wall(2), at(50, wall(1)));
        assert!(clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(50, wall(1))).is_some());
        assert_eq!(clock.stamp(state(500, 10_000), VOTERS, at(50, wall(1))), state(500, 10_000));
    }
}

#[test]
fn one_clock_in_the_past_creates_no_time_either() {
    // Only the wrong clock and another one were heard of at the last stamp; the wrong one is away after the outage.
    let mut before = ClusterClock::new(1);
    before.follow(present(state(400, 9_900), at(0, 9_900)));
    tell(&mut before, 2, 10_000 - DAY_MS, at(100, 10_000));
    let last = before.stamp(state(400, 9_900), VOTERS, at(100, 10_000));
    let wall_at_most = before.upper_median(VOTERS, at(100, 10_000)).unwrap();
    assert_eq!((last.cluster, wall_at_most), (state(500, 0).cluster, state(0, 10_000).wall));

    let mut after = ClusterClock::new(1);
    tell(&mut after, 3, 12_000, at(5, 12_000));
    assert!(after.resume(last, wall_at_most, VOTERS, at(5, 12_000)).is_some());
    assert_eq!(after.stamp(last, VOTERS, at(5, 12_000)).cluster, state(2_500, 0).cluster);
}

#[test]
fn a_clock_that_was_heard_of_late_creates_no_time_beside_a_wrong_one() {
    // Two of three are heard: the own one, which is a day behind, and one that was right when it was told, a while ago.
    for (since_ms, wall_ms) in [(Some(98_000), Some(12_000)), (Some(90_000), None), (None, None)] {
        let mut clock = ClusterClock::new(1);
        clock.follow(present(state(400, 9_900), at(97_000, 9_900)));
        let now = at(100_000, 10_000 - DAY_MS);
        clock.hear(3, WallTime(10_000 * 1_000_000), since_ms.map(Span::from_millis), now);
        // What nothing bounds does not count.
        let wall_at_most = clock.resume(state(400, 9_900), WallTime(0), VOTERS, now);
        assert_eq!(wall_at_most, wall_ms.map(|wall_ms| state(0, wall_ms).wall), "{since_ms:?}");
    }
}

#[test]
fn time_goes_on_from_the_last_entry_of_a_leader_that_lagged() {
    let mut clock = ClusterClock::new(1);
    // It has led, or followed a leader, in term 2. In term 3 somebody who lags by 300 ms has stamped an entry; it was on
    // its way for 40 ms, and is applied when this node leads in term 4.
    clock.follow(present(state(500, 10_000), at(100, 10_000)));
    let entry = |term| Stamped {
        state: state(1_200, 11_000),
        term: Some(term),
        before: Span::from_millis(1_140),
        is_present: false,
    };
    clock.follow(entry(3));
    assert_eq!(clock.stamp(state(1_200, 11_000), VOTERS, at(1_200, 11_100)).cluster, state(1_260, 0).cluster);
    // The same comes again, late: what has passed since then counts.
    clock.follow(Stamped { before: Span::from_millis(1_200), ..entry(3) });
    let stamp = clock.stamp(state(1_200, 11_000), VOTERS, at(1_200, 11_100));
    assert_eq!(stamp.cluster, state(1_200, 0).cluster + Span(59_940_000), "60 ms, but for the drift");
    // A snapshot does not say by whom its time is.
    clock.follow(Stamped { before: Span::from_millis(1_150), term: None, ..entry(3) });
    assert_eq!(clock.stamp(state(1_200, 11_000), VOTERS, at(1_200, 11_100)).cluster, state(1_250, 0).cluster);
}

#[test]
fn clocks_that_have_drifted_apart_create_no_time() {
    // The leader's clock has run slow for an hour, by half a thousandth, and this node's fast by as much.
    let mut clock = ClusterClock::new(1);
    clock.follow(present(state(0, 0), at(0, 0)));
    let (leaders_ms, own_ms) = (3_598_200, 3_601_800);
    let granted = Stamped { is_present: false, ..present(state(leaders_ms, 0), at(own_ms, 0)) };
    clock.follow(granted);
    let later = clock.stamp(granted.state, VOTERS, at(own_ms + 1_500, 0));
    assert_eq!(later.cluster.since(granted.state.cluster), Span::from_millis(1_500));
}

#[test]
fn a_node_that_was_away_catches_up_with_time_as_with_entries() {
    let mut clock = ClusterClock::new(1);
    clock.follow(present(state(0, 0), at(0, 0)));
    // A new leader's entries of two hours come at once.
    for minute in 1..=120 {
        let cluster_ms = minute * 60_000;
        let arrived = Span::from_millis(7_200_500 + minute);
        let entry =
            Stamped { state: state(cluster_ms, 0), term: Some(3), before: arrived, is_present: false };
        clock.follow(entry);
    }
    let stamp = clock.stamp(state(7_200_000, 0), VOTERS, at(7_201_000, 0));
    assert_eq!(stamp.cluster, state(7_200_380, 0).cluster);
}

#[test]
fn a_minority_of_wrong_clocks_creates_no_time_in_larger_clusters_either() {
    let voters = [1, 2, 3, 4, 5];
    // Two are a day behind, and are those that are heard; after the outage, three that are right.
    let mut before = ClusterClock::new(3);
    before.follow(present(state(400, 9_900), at(0, 9_900)));
    tell(&mut before, 1, 10_000 - DAY_MS, at(100, 10_000));
    tell(&mut before, 2, 10_000 - DAY_MS, at(100, 10_000));
    let wall_at_most = before.upper_median(&voters, at(100, 10_000)).unwrap();
    assert_eq!(wall_at_most, state(0, 10_000).wall);

    let mut after = ClusterClock::new(3);
    tell(&mut after, 4, 12_000, at(5, 12_000));
    tell(&mut after, 5, 12_000 + DAY_MS, at(5, 12_000));
    assert!(after.resume(state(500, 10_000), wall_at_most, &voters, at(5, 12_000)).is_some());
    assert_eq!(after.stamp(state(500, 10_000), &voters, at(5, 12_000)).cluster, state(2_500, 0).cluster);
}

#[test]
fn nothing_begins_before_it_is_known_when_the_next_outage_would() {
    let mut clock = ClusterClock::new(1);
    clock.hear(2, state(0, 70_000).wall, None, at(5, 70_000));
    assert_eq!(clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(5, 70_000)), None);
    tell(&mut clock, 2, 70_000, at(5, 70_000));
    assert!(clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(5, 70_000)).is_some());
}

#[test]
fn what_is_overtaken_takes_nothing_away_from_what_is_known() {
    // Node 2 answers node 1. Then what it had said before that arrives, and what repeats an earlier moment.
    let mut clock = ClusterClock::new(1);
    let wrong = 10_000 - DAY_MS;
    tell(&mut clock, 2, 70_000, at(50, wrong));
    for since in [None, Some(Span::from_millis(20))] {
        clock.hear(2, state(0, 69_000).wall, since, at(60, wrong));
    }
    let wall_at_most = clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(70, wrong));
    assert_eq!(wall_at_most, Some(state(0, 70_020).wall));
}

#[test]
fn a_leader_waits_when_it_no_longer_knows_how_late_it_is_at_most() {
    // The clock that is wrong here hides the outage; what the other shows at most is known for as long as it is fresh.
    let mut clock = ClusterClock::new(1);
    let (last, wrong) = (state(500, 10_000), 10_000 - DAY_MS);
    tell(&mut clock, 2, 70_000, at(50, wrong));
    assert_eq!(clock.resume(last, last.wall, VOTERS, at(50, wrong)), Some(state(0, 70_000).wall));
    clock.hear(2, state(0, 73_010).wall, None, at(3_060, wrong + 3_010));
    assert_eq!(clock.resume(last, last.wall, VOTERS, at(3_060, wrong + 3_010)), None);
    tell(&mut clock, 2, 73_020, at(3_070, wrong + 3_020));
    let wall_at_most = clock.resume(last, last.wall, VOTERS, at(3_070, wrong + 3_020));
    assert_eq!(wall_at_most, Some(state(0, 73_020).wall));
}

#[test]
fn an_entry_of_the_past_does_not_make_an_outage_forgotten() {
    let mut clock = ClusterClock::new(1);
    clock.follow(Stamped { is_present: false, ..present(state(500, 10_000), at(5, 70_000)) });
    tell(&mut clock, 2, 70_000, at(5, 70_000));
    assert!(clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(5, 70_000)).is_some());
    assert_eq!(clock.stamp(state(500, 10_000), VOTERS, at(5, 70_000)).cluster, state(60_500, 0).cluster);
}

#[test]
fn a_new_cluster_begins_at_zero_with_the_wall_time_of_its_quorum() {
    let mut clock = ClusterClock::new(1);
    assert!(clock.resume(Stamp::default(), WallTime(0), &[1], at(5, 10_000)).is_some());
    assert_eq!(clock.stamp(Stamp::default(), &[1], at(5, 10_000)), state(0, 10_000));
}

#[test]
fn a_stale_reading_does_not_count() {
    let mut clock = ClusterClock::new(1);
    tell(&mut clock, 2, 10_000, at(0, 10_000));
    assert_eq!(clock.resume(state(1, 1), WallTime(1), VOTERS, at(3_001, 13_001)), None);
}

proptest! {
    /// Whatever the wall clocks do: a leader's time never goes backwards, and while its clock has an anchor it
    /// advances exactly as its monotonic clock does.
    #[test]
    fn an_anchored_clock_is_its_monotonic_clock(
        steps in prop::collection::vec((0_u64..5_000, -DAY_MS..DAY_MS, -DAY_MS..DAY_MS), 1..40),
    ) {
        let mut clock = ClusterClock::new(1);
        clock.follow(present(state(1_000, 1_000), at(0, 1_000)));
        let (mut monotonic_ms, mut last) = (0, state(1_000, 1_000));
        for (step_ms, own_ms, peer_ms) in steps {
            monotonic_ms += step_ms;
            let now = at(monotonic_ms, own_ms);
            tell(&mut clock, 2, peer_ms, now);
            let stamp = clock.stamp(last, VOTERS, now);
            prop_assert_eq!(stamp.cluster, state(1_000 + monotonic_ms, 0).cluster);
            prop_assert!(stamp.wall >= last.wall);
            last = stamp;
        }
    }

    /// After a restart, time advances by no more than the second largest of three clocks says, whichever were heard.
    #[test]
    fn a_restart_credits_no_more_than_a_quorum_agrees_on(
        walls in prop::array::uniform3(0_i64..DAY_MS), heard in prop::array::uniform2(any::<bool>()),
    ) {
        let mut clock = ClusterClock::new(1);
        let now = at(10, walls[0]);
        for (id, wall) in [(2, walls[1]), (3, walls[2])] {
            if heard[id as usize - 2] {
                tell(&mut clock, id, wall, now);
            }
        }
        let last = state(500, 1_000);
        let ran = clock.resume(last, last.wall, VOTERS, now);
        prop_assert_eq!(ran.is_some(), heard[0] || heard[1]);
        let mut sorted = walls;
        sorted.sort_unstable();
        let credited = clock.stamp(last, VOTERS, now).cluster.since(last.cluster);
        prop_assert!(credited <= wall_between(last.wall, WallTime(sorted[1] * 1_000_000)));
    }
}
