//! Data of which each tasklet has its own: what `thread_local!` is to threads.
//!
//! A thread's own data is shared by all its tasklets, and whoever waits in between finds what another has left there. A
//! [`Local`] is a static without a value; each tasklet has one when it first looks, and drops it at its end, when
//! its result is there: destructors may wait there as anywhere.
//!
//! Rejected: to inherit the value of the tasklet that spawns, for what is to go along is captured by the function, and is then
//! seen; a field of every tasklet, for most have none of it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::scheduler::{TaskletId, try_current};

/// One tasklet's values, by the address of their key.
type Values = HashMap<usize, Rc<dyn Any>>;

thread_local! {
    static HERE: RefCell<HashMap<TaskletId, Values>> = RefCell::default();
}

/// A key to a value that each tasklet has for itself, made by a function when it is first asked for.
///
/// ```
/// use std::cell::Cell;
/// use overlapped::{Local, spawn, yield_now};
///
/// static REQUEST: Local<Cell<u32>> = Local::new(|| Cell::new(0));
///
/// overlapped::run(|| {
///     let served: Vec<_> = (1..4)
///         .map(|number| {
///             spawn(move || {
///                 REQUEST.with(|request| request.set(number));
///                 yield_now();
///                 REQUEST.with(Cell::get)
///             })
///         })
///         .collect();
///     assert_eq!(served.into_iter().map(|tasklet| tasklet.join().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
///     assert_eq!(REQUEST.with(Cell::get), 0, "this tasklet has its own");
/// });
/// ```
pub struct Local<T: 'static> {
    make: fn() -> T,
}

impl<T: 'static> Local<T> {
    /// A key whose values are made by `make`, which may wait.
    pub const fn new(make: fn() -> T) -> Local<T> {
        Local { make }
    }

    /// Looks at the calling tasklet's value, which is made where there is none. `look` may wait.
    ///
    /// # Panics
    /// Outside [`run`](crate::run).
    pub fn with<R>(&'static self, look: impl FnOnce(&T) -> R) -> R {
        let scheduler = try_current().expect("overlapped::Local: look at it inside overlapped::run");
        let (me, key) = (scheduler.current_tasklet(), std::ptr::from_ref(self) as usize);
        let there = HERE.with_borrow(|here| here.get(&me)?.get(&key).cloned());
        let value = there.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new((self.make)());
            HERE.with_borrow_mut(|here| here.entry(me).or_default().entry(key).or_insert(made).clone())
        });
        look(value.downcast_ref().expect("a key has values of one type"))
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// The values of a tasklet that ends, to be dropped: their destructors may make new ones.
#[inline]
pub(crate) fn take(me: TaskletId) -> Option<impl Any> {
    // Most programs have none, and a look is cheaper than a search.
    HERE.with_borrow_mut(|here| if here.is_empty() { None } else { here.remove(&me) })
}

/// Leaves the values of tasklets that have not ended where they are, for ever.
pub(crate) fn leave_behind() {
    std::mem::forget(HERE.take());
}

/// Drops the values of the thread's own tasklet when it is dropped.
pub(crate) struct OfTheThread;

impl Drop for OfTheThread {
    fn drop(&mut self) {
        while let Some(values) = take(TaskletId::ROOT) {
            drop(values);
        }
    }
}
