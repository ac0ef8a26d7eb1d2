//! What befalls a cluster. Each fault is struck, lasts for a while under load, and is over when its function returns: what
//! was stopped runs again, what was cut is whole. Whether the cluster recovers is looked at afterwards.

mod clocks;
mod disks;
mod links;
mod members;
mod processes;

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use super::{cluster::Cluster, load::Asker, recorder::Recorder};

/// Where a fault strikes.
pub struct Scene<'a> {
    /// Whom.
    pub cluster: &'a mut Cluster,
    /// Who tells when permits are granted again.
    pub recorder: &'a Recorder,
    /// Who changes definitions.
    pub operator: &'a Asker,
    /// Draws what is left to chance.
    pub rng: &'a mut StdRng,
}

impl Scene<'_> {
    /// Lets the fault last.
    async fn last(&mut self, seconds: std::ops::Range<f64>) {
        sleep(Duration::from_secs_f64(self.rng.random_range(seconds))).await;
    }
}

/// What came of a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Struck {
    /// It is over.
    Over,
    /// The leader was killed, and this much later a permit was granted that was asked for since.
    LeaderKilled(Duration),
    /// The leader was told to end, and this was the longest time without a grant until another one had taken over.
    LeaderTerminated(Duration),
    /// One node after the other was told to end, and clients that aim at the leader gave up so many operations meanwhile.
    Rolled(u64),
    /// This machine cannot do it; why.
    Skipped(String),
}

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $name:literal => $strike:expr;)*) => {
        /// All kinds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// Each once.
            pub const ALL: &[Fault] = &[$(Fault::$fault),*];

            /// As reports say it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)*
                }
            }

            /// Strikes, and waits until it is over.
            ///
            /// # Errors
            /// What should not have happened.
            pub async fn strike(self, scene: &mut Scene<'_>) -> Result<Struck, String> {
                match self {
                    $(Fault::$fault => $strike(scene).await,)*
                }
            }
        }
    };
}

faults! {
    /// SIGKILL to the leader, which comes back later.
    KillLeader "leader killed" => processes::kill_leader;
    /// SIGKILL to a follower.
    KillFollower "follower killed" => processes::kill_follower;
    /// SIGKILL to two of the nodes at once.
    KillMajority "majority killed" => processes::kill_majority;
    /// SIGKILL to all at once.
    KillAll "all killed" => processes::kill_all;
    /// SIGTERM to the leader, which hands over and ends in order.
    TerminateLeader "leader terminated" => processes::terminate_leader;
    /// SIGTERM to one after the other, as by an upgrade.
    RollingRestart "rolling restart" => processes::rolling_restart;
    /// SIGSTOP to the leader; it wakes up as a leader that was deposed.
    StopLeader "leader stopped (SIGSTOP)" => processes::stop_leader;
    /// SIGSTOP to a follower.
    StopFollower "follower stopped (SIGSTOP)" => processes::stop_follower;
    /// SIGSTOP to all.
    StopAll "all stopped (SIGSTOP)" => processes::stop_all;
    /// The wall clock of a node jumps by an hour, and back.
    JumpClock "wall clock ± 1 h" => clocks::jump;
    /// The wall clock of a node is off by an hour from one outage of all to the next: only then does it count.
    JumpClockInOutage "wall clock ± 1 h, all killed" => clocks::jump_in_outage;

    /// Nothing to or from the leader.
    IsolateLeader "leader isolated" => links::isolate_leader;
    /// Nothing to or from a follower.
    IsolateFollower "follower isolated" => links::isolate_follower;
    /// Nobody hears anybody.
    IsolateAll "all isolated" => links::isolate_all;
    /// The leader is heard, and hears nothing.
    DeafLeader "leader hears nothing" => links::deaf_leader;
    /// The leader hears, and is not heard.
    MuteLeader "leader is not heard" => links::mute_leader;
    /// Two nodes do not hear each other, and a third hears both.
    CutLink "one link cut" => links::cut_link;
    /// One node does not hear one other.
    CutOneWay "one link cut one way" => links::cut_one_way;
    /// All that nodes say is late.
    DelayAll "all messages late" => links::delay_all;
    /// What the leader says is late, for longer than an election.
    DelayLeader "leader's messages late" => links::delay_leader;
    /// All connections between nodes are reset.
    Reset "connections reset" => links::reset;

    /// A node's disk is full, then is not.
    FillDisk "disk full" => disks::fill;
    /// An fsync fails: the node must end.
    FailFsync "fsync fails" => disks::fail_fsync;
    /// Every fsync takes long.
    SlowFsync "fsync slow" => disks::slow_fsync;
    /// A bit of the log is another while a node is down: it must come back whole, or refuse to.
    DamageLog "log damaged" => disks::damage_log;
    /// The last write of the log is torn.
    TearLog "log torn" => disks::tear_log;
    /// A bit of the snapshot is another.
    DamageSnapshot "snapshot damaged" => disks::damage_snapshot;
    /// The disk of a node is empty: it must be refused, and is replaced.
    Wipe "disk wiped" => disks::wipe;

    /// A fourth member joins, sometimes leads, and is removed.
    ComeAndGo "member added and removed" => members::come_and_go;
    /// A healthy member is removed under load, and another one put into its place.
    Replace "member replaced" => members::replace;
    /// Leadership is handed over on an operator's order.
    Transfer "leadership transferred" => members::transfer;
    /// A resource's definition changes under load.
    Redefine "definition changed" => members::redefine;
}
