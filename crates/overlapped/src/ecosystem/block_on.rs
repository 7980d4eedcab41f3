//! Waiting for a future.
//!
//! The tasklet polls it, and parks until it is woken: a thread's tasklets that wait for futures are as many executors of one
//! task each. So a future may wait by whatever the tasklet could wait by, another `block_on` included. (Rejected: an executor of
//! the thread's, to which futures are given. They would run one after the other in one tasklet, and one that reads a file, as
//! blocking code does, would hold back all others.)
//!
//! A waker tells who waits only while that one sleeps: one that comes while the future is polled leaves a note, and so costs no
//! message to another thread; one that comes when all is over finds nobody.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::interrupt::Telling;
use crate::scheduler::{Waiter, passed, raise, wait};
use crate::tasklet::yield_now;

/// It is polled, or will be.
const AWAKE: u8 = 0;
/// It was woken since it was last polled.
const WOKEN: u8 = 1;
/// Its waiter is parked, or about to be.
const ASLEEP: u8 = 2;

struct Sleeper {
    waiter: Waiter,
    state: AtomicU8,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            self.waiter.wake();
        }
    }
}

/// Waits for a future, and returns its output; only the calling tasklet waits. Outside of [`run`](crate::run), the thread does.
///
/// The future is polled here, in the calling tasklet: whatever it does may wait as any code of the tasklet's may
/// ([`net`](crate::net), [`fs`](crate::fs), [`sleep`](crate::sleep()), a `block_on` inside of it), and then all of *this* future
/// waits, what it has joined with `join!` included. What is to go on beside it is [spawned](crate::spawn), and awaited by its
/// [`JoinHandle`](crate::JoinHandle). Futures that need the runtime of another crate's (Tokio's sockets and timers, say) do not
/// find it here.
///
/// A wait for a future has no result of its own: told to leave, it unwinds ([the whole story](crate#leaving-early)), and the
/// future is dropped on the way, where destructors may wait. A waker may be called from any thread, at any time.
///
/// ```
/// use overlapped::{block_on, net::TcpListener};
/// use std::io::{Read, Write};
///
/// overlapped::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let answer = overlapped::spawn(move || std::io::read_to_string(overlapped::net::TcpStream::connect(address)?));
///     block_on(async {
///         // A wait of this tasklet's, in an async block.
///         listener.accept()?.0.write_all(b"hello")?;
///         assert_eq!(answer.await.unwrap()?, "hello");
///         std::io::Result::Ok(())
///     })
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Panics
/// With the panic of the future; and where nobody can wait ([`reactor`](crate::reactor), what a callback may do), unless the
/// future is ready at once.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    if let Err(interrupted) = passed(Telling::Unwinding) {
        raise(interrupted);
    }
    let sleeper = Arc::new(Sleeper { waiter: Waiter::current(), state: AtomicU8::new(AWAKE) });
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        match sleeper.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => sleep(&sleeper),
            // It has woken itself, and wants others to run first.
            Err(_) => yield_now(),
        }
        // What those who woke it have done is seen by the poll that follows.
        sleeper.state.swap(AWAKE, Ordering::AcqRel);
    }
}

/// Waits until it was woken.
fn sleep(sleeper: &Sleeper) {
    while sleeper.state.load(Ordering::Acquire) == ASLEEP {
        if let Err(interrupted) = wait(Telling::Unwinding, None, "future") {
            sleeper.state.store(AWAKE, Ordering::Release);
            raise(interrupted);
        }
    }
}
