//! `select!`: the macro over [`first_of`](crate::first_of), and what it expands to.
//!
//! Each arm's branch is evaluated into a variable of its own, one inside of the other (`@branches`); then one call waits for
//! all of them (`@wait`). What the first has brought leaves that block as one of nested [`Either`]s (`@brought`), so that the
//! branches and what they borrow are gone when the arms' bodies run (`@arms`). The bodies stand in no loop and no closure of
//! the macro's: `break`, `return` and `?` are the caller's.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;

use super::{Branch, first_of_as, take_first};
use crate::interrupt::Telling;
use crate::scheduler::{passed, told};

/// Waits for the first of several things and runs its arm; [`first_of`](crate::first_of) with patterns.
///
/// ```
/// use overlapped::{Event, Queue, after, select, spawn};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let (lines, stop) = (Queue::new(), Event::new());
///     let (theirs, stops) = (lines.clone(), stop.clone());
///     spawn(move || {
///         theirs.put("hello").unwrap();
///         stops.set();
///     });
///     let mut seen = Vec::new();
///     loop {
///         select! {
///             line = lines.getting() => seen.push(line.unwrap()),
///             _ = stop.waiting(), if !seen.is_empty() => break,
///             _ = after(Duration::from_secs(60)) => panic!("idle for a minute"),
///         }?
///     }
///     assert_eq!(seen, ["hello"]);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// **An arm** is `pattern = branch => body`, or `pattern = branch, if condition => body`, whose branch is not evaluated and
/// never comes where the condition does not hold. What a [`Branch`] brings is its
/// [`Output`](crate::Branch::Output): a receive brings a `Result`, an event `()`, the end of a tasklet `()` (its result stays
/// with the handle). The patterns match whatever comes, or there is an `else`.
///
/// - `else => body` runs where the pattern of the arm that was first does not match, and where the conditions of all arms
///   say no.
/// - `default => body` runs where nothing is ready: nothing is waited for then.
/// - `biased;` before the arms: of several that are ready the first in the list is taken. Without it the order is drawn anew
///   each time, so that one which is always ready does not keep the others from their turn.
///
/// A time-out is an arm, of [`after`](crate::after); it counts from there on, anew in each round of a loop. For one that does
/// not, and for a value that is to be sent until it is, have the branch outside and name it by `&mut`:
///
/// ```
/// use overlapped::{Queue, after, select};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let full = Queue::bounded(1);
///     full.put("old").unwrap();
///     let (mut put, mut late) = (full.putting("new"), after(Duration::from_millis(5)));
///     let done = select! {
///         sent = &mut put => sent.is_ok(),
///         _ = &mut late => false,
///     }?;
///     assert_eq!((done, put.into_inner()), (false, Some("new")));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// **Nothing is lost.** Nothing is taken from the branches that were not the first. What the first has brought is its arm's;
/// an `else` is given nothing, so have it where what does not match may be dropped.
///
/// Patterns that leave something out need an `else`:
/// ```compile_fail,E0004
/// # let lines = overlapped::Queue::<u32>::new();
/// let _ = overlapped::select! { Ok(line) = lines.getting() => line };
/// ```
///
/// # Errors
/// The macro's value is an [`io::Result`] of the body's. Where the tasklet is told to leave:
/// [`is_cancelled`](crate::is_cancelled), or `TimedOut`. Nothing was taken then, and no body has run.
///
/// # Panics
/// Where the conditions of all arms say no, and there is neither `else` nor `default`.
#[macro_export]
macro_rules! select {
    (biased; $($arms:tt)+) => { $crate::select!(@parse [in_order] [] [] [] $($arms)+) };

    // [order] [arms] [default] [else] and what is to be read.
    (@parse [$order:ident] [$($arms:tt)*] [] [$($else:tt)*] default => $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@parse [$order] [$($arms)*] [$body] [$($else)*] $($($rest)*)?)
    };
    (@parse [$order:ident] [$($arms:tt)*] [] [$($else:tt)*] default => $body:block $($rest:tt)+) => {
        $crate::select!(@parse [$order] [$($arms)*] [$body] [$($else)*] $($rest)+)
    };
    (@parse [$order:ident] [$($arms:tt)*] [] [$($else:tt)*] default => $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@parse [$order] [$($arms)*] [$body] [$($else)*] $($($rest)*)?)
    };
    (@parse [$order:ident] [$($arms:tt)*] [$($default:tt)*] [] else => $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@parse [$order] [$($arms)*] [$($default)*] [$body] $($($rest)*)?)
    };
    (@parse [$order:ident] [$($arms:tt)*] [$($default:tt)*] [] else => $body:block $($rest:tt)+) => {
        $crate::select!(@parse [$order] [$($arms)*] [$($default)*] [$body] $($rest)+)
    };
    (@parse [$order:ident] [$($arms:tt)*] [$($default:tt)*] [] else => $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@parse [$order] [$($arms)*] [$($default)*] [$body] $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr, if $condition:expr => $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern)
            (if $condition { ::core::option::Option::Some($branch) } else { ::core::option::Option::None }) $body]]
            $default $else $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr, if $condition:expr => $body:block $($rest:tt)+) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern)
            (if $condition { ::core::option::Option::Some($branch) } else { ::core::option::Option::None }) $body]]
            $default $else $($rest)+)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr, if $condition:expr => $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern)
            (if $condition { ::core::option::Option::Some($branch) } else { ::core::option::Option::None }) $body]]
            $default $else $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr => $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern) (::core::option::Option::Some($branch)) $body]]
            $default $else $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr => $body:block $($rest:tt)+) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern) (::core::option::Option::Some($branch)) $body]]
            $default $else $($rest)+)
    };
    (@parse $order:tt [$($arms:tt)*] $default:tt $else:tt
        $pattern:pat = $branch:expr => $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@parse $order [$($arms)* [branch ($pattern) (::core::option::Option::Some($branch)) $body]]
            $default $else $($($rest)*)?)
    };
    (@parse [$order:ident] [$([$branch:ident $pattern:tt $made:tt $body:expr])+] [$($default:expr)?] $else:tt) => {{
        let brought = $crate::select!(@branches [$order] [$($default)?] [$([$branch $made])+] [$($branch)+]);
        match brought {
            ::core::result::Result::Err(told) => ::core::result::Result::Err(told),
            #[allow(unreachable_code, reason = "a body may leave")]
            ::core::result::Result::Ok(::core::option::Option::Some(brought)) => {
                ::core::result::Result::Ok($crate::select!(@arms brought $else $([$pattern $body])+))
            }
            #[allow(unreachable_code, reason = "a body may leave")]
            ::core::result::Result::Ok(::core::option::Option::None) => {
                ::core::result::Result::Ok($crate::select!(@nothing [$($default)?] $else))
            }
        }
    }};

    // What an expression borrows for the moment lives as long as the `match`.
    (@branches $order:tt $default:tt [[$branch:ident ($made:expr)] $($rest:tt)*] $all:tt) => {
        match $made {
            mut $branch => $crate::select!(@branches $order $default [$($rest)*] $all),
        }
    };
    (@branches [$order:ident] [$($default:expr)?] [] [$($branch:ident)+]) => {{
        let there = [$(::core::option::Option::is_some(&$branch)),+];
        let first = $crate::__select::$order(
            &mut [$(&mut $branch as &mut dyn $crate::Branch),+],
            &there,
            $crate::select!(@waits $($default)?),
        );
        match first {
            ::core::result::Result::Err(told) => ::core::result::Result::Err(told),
            ::core::result::Result::Ok(::core::option::Option::None) => {
                ::core::result::Result::Ok(::core::option::Option::None)
            }
            ::core::result::Result::Ok(::core::option::Option::Some(place)) => ::core::result::Result::Ok(
                ::core::option::Option::Some($crate::select!(@brought place $($branch)+)),
            ),
        }
    }};
    (@waits) => { true };
    (@waits $default:expr) => { false };

    (@brought $place:ident) => { $crate::__select::no_other($place) };
    (@brought $place:ident $branch:ident $($rest:ident)*) => {
        match $place {
            0 => $crate::__select::Either::This($crate::Branch::output(&mut $branch)),
            place => {
                let place = place - 1;
                $crate::__select::Either::Other($crate::select!(@brought place $($rest)*))
            }
        }
    };

    (@arms $brought:ident $else:tt) => { match $brought {} };
    (@arms $brought:ident [] [($pattern:pat) $body:expr] $($rest:tt)*) => {
        match $brought {
            $crate::__select::Either::This($pattern) => $body,
            $crate::__select::Either::Other(brought) => $crate::select!(@arms brought [] $($rest)*),
        }
    };
    (@arms $brought:ident [$else:expr] [($pattern:pat) $body:expr] $($rest:tt)*) => {
        match $brought {
            $crate::__select::Either::This($pattern) => $body,
            $crate::__select::Either::Other(brought) => $crate::select!(@arms brought [$else] $($rest)*),
            #[allow(unreachable_patterns, reason = "the pattern may match whatever comes")]
            $crate::__select::Either::This(_) => $else,
        }
    };

    (@nothing [] []) => { $crate::__select::no_arm() };
    (@nothing [$default:expr] $else:tt) => { $default };
    (@nothing [] [$else:expr]) => { $else };

    (@ $($wrong:tt)*) => { ::core::compile_error!("an arm of `select!` is `pattern = branch => body`") };
    ($($arms:tt)+) => { $crate::select!(@parse [fairly] [] [] [] $($arms)+) };
}

/// What came, by the place of its arm.
#[derive(Debug)]
pub enum Either<T, O> {
    /// The first arm's.
    This(T),
    /// One of those after it.
    Other(O),
}

/// Waits for the first of those that are `there`, in the order of the list; `None` where there is none, or none is ready and
/// nothing is to be waited for.
///
/// # Errors
/// As for [`first_of`](crate::first_of).
pub fn in_order(branches: &mut [&mut dyn Branch], there: &[bool], waits: bool) -> io::Result<Option<usize>> {
    if !waits {
        passed(Telling::Error).map_err(told)?;
        return Ok(take_first(branches));
    }
    if there.contains(&true) { first_of_as(branches, "the first of several").map(Some) } else { Ok(None) }
}

/// As [`in_order`], but begins anywhere.
///
/// # Errors
/// As for [`first_of`](crate::first_of).
pub fn fairly(branches: &mut [&mut dyn Branch], there: &[bool], waits: bool) -> io::Result<Option<usize>> {
    let begins = drawn(branches.len());
    branches.rotate_left(begins);
    let first = in_order(branches, there, waits)?;
    Ok(first.map(|place| (place + begins) % branches.len()))
}

/// A number below `count`, each as often (xorshift64, Marsaglia 2003).
fn drawn(count: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0x9E37_79B9_7F4A_7C15) };
    }
    let mut state = STATE.get();
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    // The lower half repeats itself sooner.
    (state >> 32) as usize % count
}

/// There is no arm of this number.
pub fn no_other(place: usize) -> Infallible {
    unreachable!("{place} arms more than there are")
}

/// No condition holds, and nothing else is to be done.
pub fn no_arm<T>() -> T {
    panic!("overlapped::select!: the conditions of all arms say no, and there is no `else`")
}
