//! Systems that have no simulated world yet.

use std::rc::Rc;
use std::sync::Arc;

use super::chance::Chance;
use crate::host::Host;

/// There is none.
pub(crate) enum World {}

impl World {
    pub(crate) fn here() -> Option<World> {
        None
    }

    pub(crate) fn chance(&self) -> Rc<Chance> {
        match *self {}
    }

    pub(crate) fn host(&self) -> Arc<dyn Host> {
        match *self {}
    }

    pub(crate) fn disk_error(&self, _: bool) -> Option<std::io::Error> {
        match *self {}
    }
}
