//! What the tests of whole nodes share.

pub mod check;
pub mod cluster;
pub mod crews;
pub mod fleet;
pub mod history;
pub mod http2;
pub mod machine;
pub mod processes;
pub mod samples;
pub mod sim;
pub mod single;
pub mod torture;
