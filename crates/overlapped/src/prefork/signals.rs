//! A server that does what signals say, by the names that administrators know from other servers of this kind.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::supervisor::Supervisor;
use super::sys::{FEWER, MORE};
use crate::group::Group;
use crate::select::first_of;
use crate::signal::{HANGUP, INTERRUPT, Signals, TERMINATE};
use crate::sync::Queue;

enum Heard {
    Signal(i32),
    Stopped(io::Result<()>),
}

impl Supervisor {
    /// Serves until a signal says to stop, and does what the others say:
    ///
    /// | signal | on Windows | |
    /// |---|---|---|
    /// | SIGHUP | | [`Supervisor::restart`] |
    /// | SIGTTIN | | one worker more ([`Supervisor::resize`]) |
    /// | SIGTTOU | | one worker less, where there are two or more |
    /// | SIGTERM, SIGINT | Ctrl-Break, Ctrl-C | [`Supervisor::stop`] with this `limit`; a second time: workers are ended at once |
    ///
    /// What a signal begins goes on while others are heard, so that a restart does not keep the server from stopping. What
    /// fails is told on standard error, and the server serves on. Signals stay taken when this returns, as
    /// [`Signals`] says.
    ///
    /// # Errors
    /// As for [`Supervisor::stop`] and [`Signals::new`]; where the tasklet is told to leave: then the server serves on.
    pub fn obey_signals(self: &Rc<Self>, limit: Duration) -> io::Result<()> {
        let hangup = if cfg!(windows) { None } else { Some(HANGUP) };
        let numbers = [Some(INTERRUPT), Some(TERMINATE), hangup, MORE, FEWER];
        let mut signals = Signals::new(numbers.into_iter().flatten())?;
        let heard = Queue::new();
        Group::run(|group| {
            let theirs = heard.clone();
            group.spawn(move || {
                while let Ok(number) = signals.wait() {
                    let _ = theirs.put(Heard::Signal(number));
                }
            });
            let mut stops = false;
            loop {
                let mut next = heard.getting();
                first_of(&mut [&mut next])?;
                let number = match next.take() {
                    Some(Ok(Heard::Signal(number))) => number,
                    Some(Ok(Heard::Stopped(result))) => {
                        group.cancel();
                        return result;
                    }
                    _ => unreachable!("the queue is never closed"),
                };
                let this = Rc::clone(self);
                if [INTERRUPT, TERMINATE].contains(&number) {
                    if stops {
                        self.shared.end_all();
                    } else {
                        stops = true;
                        let heard = heard.clone();
                        group.spawn(move || heard.put(Heard::Stopped(this.stop(limit))).is_ok());
                    }
                } else {
                    group.spawn(move || {
                        let done = if Some(number) == MORE {
                            this.resize_by(|workers| workers + 1)
                        } else if Some(number) == FEWER {
                            this.resize_by(|workers| workers.max(2) - 1)
                        } else {
                            this.restart()
                        };
                        if let Err(error) = done
                            && !this.shared.stopping.is_set()
                        {
                            eprintln!("prefork: the workers go on that are there: {error}");
                        }
                    });
                }
            }
        })
    }
}
