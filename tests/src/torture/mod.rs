//! Real processes, real faults.
//!
//! Three servers run as processes, with real files and real sockets. Clients of every kind ask them for permits, each in its
//! own way ([`way`]), and note what they are told ([`recorder`], [`load`]). Meanwhile everything fails that this machine can make fail ([`fault`]):
//! processes are killed and stopped, the network between the nodes is cut, delayed and reset ([`network`]), disks are full,
//! slow, broken, damaged or wiped, the wall clock jumps, members come and go. Afterwards the notes are judged by the same
//! checkers as those of simulations ([`crate::check`]), and what the cluster still holds is read back ([`session`]).
//!
//! Everything is drawn from one seed; but real machines do not repeat themselves, so a seed only repeats the faults. What a
//! machine cannot do (no root, no strace) is skipped, and the report says so.

pub mod binary;
pub mod cluster;
pub mod fault;
pub mod load;
pub mod network;
pub mod process;
pub mod recorder;
pub mod report;
pub mod run;
pub mod seat;
pub mod session;
pub mod tally;
pub mod way;
pub mod workload;
