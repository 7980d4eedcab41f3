//! Windows: how a child is started, and what stands for it then.

mod child;
mod job;
mod start;

pub use child::{Process, Watch, on_signal};
pub use job::Job;
pub use start::{Starter, resume_thread, tie};
