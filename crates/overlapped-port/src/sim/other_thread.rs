//! A thread beside that of the world, which does something while that one waits for it: so it is always told of at the same
//! moment, and comes through the same locks and wake-ups as what any other thread does.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

pub(super) type Call = Box<dyn FnOnce() -> io::Result<usize> + Send>;

/// The thread; it ends when this is dropped.
pub(super) struct OtherThread {
    calls: Sender<Call>,
    ended: Receiver<io::Result<usize>>,
}

impl OtherThread {
    pub(super) fn start() -> OtherThread {
        let (calls, asked) = channel::<Call>();
        let (told, ended) = channel();
        std::thread::spawn(move || {
            for call in asked {
                let _ = told.send(crate::pool::outcome(call));
            }
        });
        OtherThread { calls, ended }
    }

    /// Runs `call` there to its end.
    ///
    /// # Errors
    /// The call's.
    pub(super) fn run(&self, call: Call) -> io::Result<usize> {
        self.calls.send(call).expect("the thread waits for calls");
        self.ended.recv().expect("the thread tells of each call's end")
    }
}
