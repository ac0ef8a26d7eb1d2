//! The kinds of windows that vendors count in.

mod amount;
mod fixed;
mod rolling;

pub use amount::Amount;
pub use fixed::Fixed;
pub use rolling::Rolling;
