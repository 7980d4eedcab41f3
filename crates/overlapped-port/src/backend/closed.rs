//! The backend of a port that was shut down, or that is a parent process's: it begins nothing, and nothing is in flight.

use std::io;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Event, Notify, Started};
use crate::buffers::Home;
use crate::op::Op;
use crate::slots::OpId;

/// It knows why.
pub(crate) struct Closed(pub(crate) &'static str);

impl Notify for Closed {
    fn notify(&self) {}
}

impl Home for Closed {
    fn give_back(&self, _: u16) {}
}

impl Backend for Closed {
    fn name(&self) -> &'static str {
        "none"
    }

    fn setup(&self) -> Vec<String> {
        vec![self.0.into()]
    }

    unsafe fn begin(&mut self, _: OpId, op: Op<'_>) -> Started {
        Started::Done(Err(io::Error::other(format!("{op:?}: {}", self.0))), None)
    }

    fn cancel(&mut self, _: OpId) {}

    fn wait(&mut self, timeout: Option<Duration>, _: &mut Vec<Event>) -> io::Result<()> {
        match timeout {
            Some(timeout) => std::thread::sleep(timeout),
            None => return Err(io::Error::other(format!("nothing can come: {}", self.0))),
        }
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Closed(self.0))
    }

    fn home(&self) -> Weak<dyn Home> {
        Weak::<Self>::new()
    }

    fn kernel_entries(&self) -> u64 {
        0
    }
}
