//! Unix: how a child is started, what it does before its program, what stands for it then.

mod child;
mod start;
pub mod terminal;

pub use child::{Process, Watch};
pub use start::{Starter, end_with};
