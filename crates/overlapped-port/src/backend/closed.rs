//! The backend of a port that was shut down: it begins nothing, and nothing is in flight.

use std::io;
use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Event, Notify, Started};
use crate::buffers::Home;
use crate::op::Op;
use crate::slots::OpId;

pub(crate) struct Closed;

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
        vec!["the port was shut down".into()]
    }

    unsafe fn begin(&mut self, _: OpId, op: Op<'_>) -> Started {
        Started::Done(Err(io::Error::other(format!("{op:?}: the port was shut down"))), None)
    }

    fn cancel(&mut self, _: OpId) {}

    fn wait(&mut self, timeout: Option<Duration>, _: &mut Vec<Event>) -> io::Result<()> {
        match timeout {
            Some(timeout) => std::thread::sleep(timeout),
            None => return Err(io::Error::other("nothing can come from a port that was shut down")),
        }
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Closed)
    }

    fn home(&self) -> Weak<dyn Home> {
        Weak::<Self>::new()
    }

    fn kernel_entries(&self) -> u64 {
        0
    }
}
