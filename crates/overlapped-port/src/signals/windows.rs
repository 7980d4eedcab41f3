//! Windows: the console's events, which come on a thread of the system's.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

use crate::sys::RawSocket;

/// How to learn that an event has come.
#[derive(Debug)]
pub enum Arrival {
    /// [`Op::Poll`](crate::Op::Poll) says that this is readable.
    Readable(RawSocket),
    /// [`Signals::on_arrival`] tells.
    Told,
}

/// Some of the console's events, from now on.
pub struct Signals(Arc<Sink>);

/// What one [`Signals`] shares with the handler.
struct Sink {
    numbers: Vec<i32>,
    came: Mutex<(Vec<i32>, Option<Call>)>,
}

type Call = Arc<dyn Fn() + Send + Sync>;

/// Everyone who waits. The handler was set when it is not empty.
static SINKS: Mutex<Vec<Weak<Sink>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Has these events noted from now on, by their numbers (`CTRL_C_EVENT` and its like, "HandlerRoutine"). As long as
    /// this is there, they do not end the program; but for the closing of the console, the end of the session and of the
    /// system, after which the system ends it when the handler has returned.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is none; what the system says.
    pub fn new(numbers: &[i32]) -> io::Result<Signals> {
        let known = [CTRL_C_EVENT, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT];
        if let Some(number) = numbers.iter().find(|number| !known.iter().any(|known| *known as i32 == **number)) {
            let message = format!("{number} is no event of the console");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let sink = Arc::new(Sink { numbers: numbers.to_vec(), came: Mutex::default() });
        let mut sinks = lock(&SINKS);
        // SAFETY: the handler is a function of this program, which is never unloaded.
        if sinks.is_empty() && unsafe { SetConsoleCtrlHandler(Some(handle), TRUE) } == 0 {
            return Err(io::Error::last_os_error());
        }
        sinks.retain(|sink| sink.strong_count() > 0);
        sinks.push(Arc::downgrade(&sink));
        Ok(Signals(sink))
    }

    /// How to learn that one has come.
    pub fn arrival(&self) -> Arrival {
        Arrival::Told
    }

    /// Has `call` called for each that comes, on a thread of the system's.
    ///
    /// # Errors
    /// None, here.
    pub fn on_arrival(&mut self, call: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
        lock(&self.0.came).1 = Some(Arc::new(call));
        Ok(())
    }

    /// Those that have come since this was last asked, each once.
    pub fn take(&mut self) -> Vec<i32> {
        std::mem::take(&mut lock(&self.0.came).0)
    }
}

/// Called by the system for each event; says whether the event was ours.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let sinks: Vec<Arc<Sink>> = lock(&SINKS).iter().filter_map(Weak::upgrade).collect();
    let mut ours = FALSE;
    for sink in sinks.iter().filter(|sink| sink.numbers.contains(&(event as i32))) {
        ours = TRUE;
        let call = {
            let mut came = lock(&sink.came);
            if !came.0.contains(&(event as i32)) {
                came.0.push(event as i32);
            }
            came.1.clone()
        };
        if let Some(call) = call {
            call();
        }
    }
    ours
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}
