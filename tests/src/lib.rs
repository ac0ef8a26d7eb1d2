//! What the tests of whole nodes share.

pub mod check;
pub mod cluster;
pub mod history;
pub mod samples;
