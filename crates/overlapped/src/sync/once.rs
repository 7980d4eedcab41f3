//! Values that are made once, by a function that may wait.
//!
//! The standard library's `OnceLock` blocks the thread while another makes the value, and with it the tasklet that does.
//! Here the others wait. One that makes it and does not come to an end (it is told to leave, it panics, it returns an error)
//! poisons nothing: the next of those that wait makes it.

use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::unwound;
use crate::interrupt::Telling;
use crate::scheduler::{Waiter, await_place, passed};
use crate::ticket::{Claimant, wake_all};
use crate::wait_list::WaitList;

/// A place for one value, which is written once.
///
/// ```
/// use overlapped::{OnceCell, sleep, spawn};
/// use std::time::Duration;
///
/// static ADDRESS: OnceCell<String> = OnceCell::new();
///
/// fn address() -> &'static str {
///     ADDRESS.get_or_init(|| {
///         sleep(Duration::from_millis(5));
///         "looked up once".to_owned()
///     })
/// }
///
/// overlapped::run(|| {
///     let other = spawn(address);
///     assert_eq!((address(), other.join().unwrap()), ("looked up once", "looked up once"));
/// });
/// ```
pub struct OnceCell<T> {
    value: OnceLock<T>,
    state: Mutex<State>,
}

struct State {
    /// Who makes the value.
    makes: Option<Waiter>,
    waiting: WaitList<Claimant>,
}

/// The right to make the value; at its end, those that wait look again.
struct Making<'a>(&'a Mutex<State>);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = locked(self.0);
            state.makes = None;
            state.waiting.serve_all(|| ())
        };
        wake_all(waiting);
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> OnceCell<T> {
    /// An empty one.
    pub const fn new() -> OnceCell<T> {
        OnceCell { value: OnceLock::new(), state: Mutex::new(State { makes: None, waiting: WaitList::new() }) }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if there is one, to be changed.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// The value, if there is one.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Writes the value; where another is making it, waits for that.
    ///
    /// # Errors
    /// `value`, where there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is made once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, which `make` makes where there is none; others that ask meanwhile wait for it.
    ///
    /// # Panics
    /// With the panic of `make`, and where `make` asks for the same value.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get_or_try_init(|| Ok::<T, Infallible>(make())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`OnceCell::get_or_init`], for what may fail.
    ///
    /// # Errors
    /// That of `make`; there is no value then.
    ///
    /// # Panics
    /// As [`OnceCell::get_or_init`].
    pub fn get_or_try_init<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if self.value.get().is_none()
            && let Some(making) = self.begin()
        {
            let made = make()?;
            let _ = self.value.set(made);
            drop(making);
        }
        Ok(self.value.get().expect("it was made"))
    }

    /// Waits for the right to make the value; `None` where it is there.
    fn begin(&self) -> Option<Making<'_>> {
        passed(Telling::Unwinding).unwrap_or_else(unwound);
        loop {
            let place = {
                let mut state = locked(&self.state);
                if self.value.get().is_some() {
                    return None;
                }
                let me = Waiter::current();
                match &state.makes {
                    None => {
                        state.makes = Some(me);
                        return Some(Making(&self.state));
                    }
                    Some(makes) => {
                        assert!(*makes != me, "overlapped::OnceCell: the value is asked for by what makes it");
                        state.waiting.push(Claimant::current())
                    }
                }
            };
            let (_, waited) = await_place(Telling::Unwinding, None, "a value that is made once", |waits| {
                locked(&self.state).waiting.leave_unless(place, waits)
            });
            waited.unwrap_or_else(unwound);
        }
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}

/// A value that is made when it is first looked at, by a function that may wait.
///
/// The function is called again where it has not come to an end: it is a `Fn`, other than that of the standard library's
/// `LazyLock`, which is poisoned then.
///
/// ```
/// use overlapped::Lazy;
/// static GREETING: Lazy<String> = Lazy::new(|| ["hello", "world"].join(" "));
/// overlapped::run(|| assert_eq!(GREETING.len(), 11));
/// ```
pub struct Lazy<T, F = fn() -> T> {
    cell: OnceCell<T>,
    make: F,
}

impl<T, F: Fn() -> T> Lazy<T, F> {
    /// A value that `make` makes.
    pub const fn new(make: F) -> Lazy<T, F> {
        Lazy { cell: OnceCell::new(), make }
    }

    /// The value, which is made where there is none.
    ///
    /// # Panics
    /// As [`OnceCell::get_or_init`].
    pub fn force(this: &Lazy<T, F>) -> &T {
        this.cell.get_or_init(&this.make)
    }
}

impl<T, F: Fn() -> T> Deref for Lazy<T, F> {
    type Target = T;

    fn deref(&self) -> &T {
        Lazy::force(self)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.cell.get()).finish()
    }
}
