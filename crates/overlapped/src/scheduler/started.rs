//! Operations that nobody waits for: they own what they need, and call back.
//!
//! A callback style (asyncio's transports) stands on this: no tasklet, no stack, only the operation, its buffer and what is
//! to be called. The buffer goes in and comes back to the callback. Callbacks run between two tasklets, on the loop's turn,
//! also where the result was there at once: whoever starts an operation is never called from within that call. Such results
//! wait in a list until the turn's end. (Rejected: a timer for each, that is due at once. It comes with the next turn, which
//! then asks the kernel without waiting, and the one after it asks again: one kernel entry more for each answer of a server.)

use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use overlapped_port::sys::RawSocket;
use overlapped_port::{Interest, Op, OpId, Outcome, Submitted};

use super::thread::{Called, Flight, Scheduler};
use super::token::Token;

/// Names an operation that was [started](Scheduler::start), for [`Scheduler::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started(Option<OpId>);

/// What keeps a handle open, shared: a clone keeps the same one.
pub(crate) trait Keeps: Deref + Clone + 'static {}

impl<H: 'static> Keeps for Rc<H> {}
impl<H: 'static> Keeps for Arc<H> {}

/// What an operation owns, at an address that stays, until its end.
struct Owned<B>(*mut B);

impl<B> Owned<B> {
    /// Nothing is in flight on it any more.
    #[allow(unsafe_code, reason = "the other end of `Box::into_raw`")]
    fn take(self) -> B {
        // SAFETY: `start` made it of a box, and the operation that borrowed from it has ended.
        *unsafe { Box::from_raw(self.0) }
    }
}

impl Scheduler {
    /// Starts an operation on what it owns, and has `callback` called with that and the result, between two tasklets: it
    /// must not wait. A cancel is a result too (`ECANCELED`; Windows: `ERROR_OPERATION_ABORTED`).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::os::fd::AsRawFd;
    /// use overlapped::{Event, engine};
    /// use overlapped_port::{Op, Outcome};
    /// overlapped::run(|| {
    ///     let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    ///     let (socket, sent) = (writer.as_raw_fd(), Event::new());
    ///     let set = sent.clone();
    ///     // SAFETY: `writer` is open until `sent` is set.
    ///     unsafe {
    ///         engine::current().unwrap().start(
    ///             b"hello".to_vec(),
    ///             |bytes| Op::Send { socket, buffer: bytes, flags: 0, all: true },
    ///             move |_, bytes, result| {
    ///                 assert!(matches!(result, Ok(Outcome::Count(5))) && bytes == b"hello");
    ///                 set.set();
    ///             },
    ///         );
    ///     }
    ///     sent.wait();
    /// });
    /// # }
    /// ```
    ///
    /// # Safety
    /// The handles that the operation names are open and the caller's to use, until `callback` is called.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn start<B: 'static>(
        &self,
        owned: B,
        op: impl for<'a> FnOnce(&'a mut B) -> Op<'a>,
        callback: impl FnOnce(&Scheduler, B, io::Result<Outcome>) + 'static,
    ) -> Started {
        let place = Box::into_raw(Box::new(owned));
        let owned = Owned(place);
        let once = move |scheduler: &Scheduler, result| callback(scheduler, owned.take(), result);
        // SAFETY: nobody else has it, until `once` is called.
        let op = op(unsafe { &mut *place });
        // SAFETY: what `op` borrows is in `place`, which `once` alone gives free, when the operation has ended; the caller
        // answers for the handles.
        unsafe { self.submit_flight(op, Called::Once(Box::new(once))) }
    }

    /// Waits for a socket to be ready, for one who keeps the socket until `callback` has been called.
    pub(crate) fn start_poll(
        &self,
        socket: RawSocket,
        interest: Interest,
        callback: impl FnOnce(&Scheduler, io::Result<()>) + 'static,
    ) -> Started {
        #[allow(unsafe_code, reason = "a poll borrows nothing")]
        // SAFETY: the caller, who is of this crate, keeps the socket until then.
        unsafe {
            self.start(
                (),
                |()| Op::Poll { socket, interest },
                |scheduler, (), result| callback(scheduler, result.map(drop)),
            )
        }
    }

    /// As [`Scheduler::start`], for an operation that brings many results (`AcceptMultishot`, `RecvMultishot`) and owns
    /// nothing: `callback` is told of each, and whether more come.
    ///
    /// # Safety
    /// As for [`Scheduler::start`], until `callback` is told that no more come.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn start_multishot(
        &self,
        op: Op<'static>,
        callback: impl FnMut(&Scheduler, io::Result<Outcome>, bool) + 'static,
    ) -> Started {
        // SAFETY: it borrows nothing that ends; the caller answers for the handles.
        unsafe { self.submit_flight(op, Called::Each(Box::new(callback))) }
    }

    /// As [`Scheduler::start`], for the sockets and files of this crate: `op` names `handle` and no other, and it stays open
    /// until just before `callback` is called.
    pub(crate) fn launch<K: Keeps, B: 'static>(
        &self,
        handle: &K,
        owned: B,
        op: impl for<'a> FnOnce(&K::Target, &'a mut B) -> Op<'a>,
        callback: impl FnOnce(B, io::Result<Outcome>) + 'static,
    ) -> Started {
        let kept = handle.clone();
        let ended = move |_: &Scheduler, owned, result| {
            drop(kept);
            callback(owned, result);
        };
        #[allow(unsafe_code, reason = "the handle is kept")]
        // SAFETY: the callback itself keeps the one handle that the operation names.
        unsafe {
            self.start(owned, |owned| op(handle, owned), ended)
        }
    }

    /// As [`Scheduler::start_multishot`], for the sockets of this crate, as [`Scheduler::launch`].
    pub(crate) fn launch_multishot<K: Keeps>(
        &self,
        handle: &K,
        op: impl FnOnce(&K::Target) -> Op<'static>,
        mut callback: impl FnMut(io::Result<Outcome>, bool) + 'static,
    ) -> Started {
        let mut kept = Some(handle.clone());
        let told = move |_: &Scheduler, result, more: bool| {
            if !more {
                drop(kept.take());
            }
            callback(result, more);
        };
        #[allow(unsafe_code, reason = "the handle is kept")]
        // SAFETY: the callback itself keeps the one handle that the operation names, until no more comes.
        unsafe {
            self.start_multishot(op(handle), told)
        }
    }

    /// # Safety
    /// As for [`overlapped_port::Port::submit`].
    #[allow(unsafe_code, reason = "the callers make the promise")]
    unsafe fn submit_flight(&self, op: Op<'_>, called: Called) -> Started {
        let slot = self.flights.borrow_mut().insert(Flight { id: None, called });
        let token = Token::Flight(slot as u32).pack();
        // SAFETY: the caller's promise.
        let submitted = unsafe { self.port.borrow_mut().submit(op, token) };
        match submitted {
            Submitted::Pending(id) => {
                self.flights.borrow_mut()[slot].id = Some(id);
                if self.is_closing() {
                    // Those that were there are cancelled, and so is what their callbacks begin.
                    self.port.borrow_mut().cancel(id);
                }
                Started(Some(id))
            }
            Submitted::Done(result) => {
                self.landed.borrow_mut().push_back((slot, result));
                Started(None)
            }
        }
    }

    /// Asks for the end of an operation that was started; its callback is called all the same. One that has ended is left
    /// alone.
    pub fn cancel(&self, started: Started) {
        if let Some(id) = started.0 {
            self.port.borrow_mut().cancel(id);
        }
    }

    /// How many operations were started and have not ended.
    pub fn flights(&self) -> usize {
        self.flights.borrow().len()
    }

    /// Asks for the end of all of them.
    pub(super) fn cancel_flights(&self) {
        let ids: Vec<OpId> = self.flights.borrow().iter().filter_map(|(_, flight)| flight.id).collect();
        ids.into_iter().for_each(|id| self.port.borrow_mut().cancel(id));
    }

    /// Tells of those that have ended at once. What their callbacks begin is told on the next turn, so that one who always
    /// finds a result there holds back nobody.
    pub(super) fn land_those_ended(&self) {
        let count = self.landed.borrow().len();
        for _ in 0..count {
            let Some((slot, result)) = self.landed.borrow_mut().pop_front() else { return };
            self.land(slot, result, false);
        }
    }

    /// A completion has come for a flight.
    pub(super) fn land(&self, slot: usize, result: io::Result<Outcome>, more: bool) {
        let called = {
            let mut flights = self.flights.borrow_mut();
            if more {
                std::mem::replace(&mut flights[slot].called, Called::Running)
            } else {
                flights.remove(slot).called
            }
        };
        let _between = self.between();
        match called {
            Called::Once(callback) => callback(self, result),
            Called::Each(mut callback) => {
                callback(self, result, more);
                if more {
                    self.flights.borrow_mut()[slot].called = Called::Each(callback);
                }
            }
            Called::Running => unreachable!("the loop does not turn inside of a callback"),
        }
        self.may_have_ended();
    }
}
