//! A simulated world ([`overlapped_port::sim`]) for the tasklets of a thread: entered before it has any, and left when they have
//! ended. In it the thread's port is the world's, and its clock, its chance and its names are asked for here.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use overlapped::sim::{self, Decisions, Link, Origin, shrink};
use overlapped_port::sim::{Entered, enter, look_up};
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::life::end_here;
use super::runtime::existing;
use crate::python::error::from_io;

thread_local! {
    static HERE: RefCell<Option<Entered>> = const { RefCell::new(None) };
}

/// What a world does beside what its programs do: `overlapped::sim::Rules`, which has the meanings and the defaults. Times are
/// in seconds.
#[pyclass(frozen, module = "overlapped.sim")]
struct Rules(sim::Rules);

/// Reads and changes the fields of [`sim::Rules`] by name.
macro_rules! fields {
    (times: $($time:ident)*; numbers: $($number:ident)*) => {
        fn change(rules: &mut sim::Rules, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
            match name {
                $(stringify!($time) => rules.$time = seconds(value.extract()?)?,)*
                $(stringify!($number) => rules.$number = value.extract()?,)*
                _ => {
                    let known = [$(stringify!($time),)* $(stringify!($number),)*].join(", ");
                    return Err(PyTypeError::new_err(format!("Rules has no {name}, but {known}")));
                }
            }
            Ok(())
        }

        fn read<'py>(py: Python<'py>, rules: &sim::Rules, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
            Ok(Some(match name {
                $(stringify!($time) => rules.$time.as_secs_f64().into_pyobject(py)?.into_any(),)*
                $(stringify!($number) => rules.$number.into_pyobject(py)?.into_any(),)*
                _ => return Ok(None),
            }))
        }
    };
}

fields!(times: latency jitter slow_names; numbers: priorities window short again short_files loss doubled reset refused no_descriptors no_buffers no_names no_disk);

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(format!("{seconds} seconds: {error}")))
}

impl Rules {
    fn changed(mut rules: sim::Rules, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Rules> {
        for (name, value) in changes.into_iter().flatten() {
            change(&mut rules, name.extract()?, &value)?;
        }
        Ok(Rules(rules))
    }
}

#[pymethods]
impl Rules {
    #[new]
    #[pyo3(signature = (**changes))]
    fn new(changes: Option<&Bound<'_, PyDict>>) -> PyResult<Rules> {
        Rules::changed(sim::Rules::default(), changes)
    }

    /// Nothing but the order of what happens is decided.
    #[staticmethod]
    #[pyo3(signature = (**changes))]
    fn steady(changes: Option<&Bound<'_, PyDict>>) -> PyResult<Rules> {
        Rules::changed(sim::Rules::steady(), changes)
    }

    /// A bad day: everything fails now and then.
    #[staticmethod]
    #[pyo3(signature = (**changes))]
    fn rough(changes: Option<&Bound<'_, PyDict>>) -> PyResult<Rules> {
        Rules::changed(sim::Rules::rough(), changes)
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let unknown = || PyAttributeError::new_err(format!("'Rules' object has no attribute '{name}'"));
        read(py, &self.0, name)?.ok_or_else(unknown)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Has the thread be in a world from now on.
#[pyfunction]
fn enter_world(origin: &str, rules: &Rules) -> PyResult<()> {
    let origin: Origin = origin.parse().map_err(|error: std::io::Error| PyValueError::new_err(error.to_string()))?;
    if existing().is_some() {
        let problem =
            "a simulated world is entered before the thread waits for anything: this one has a completion port";
        return Err(PyRuntimeError::new_err(problem));
    }
    let world = enter(origin, rules.0.clone()).map_err(from_io)?;
    HERE.set(Some(world));
    Ok(())
}

/// Ends all tasklets of the thread, and its port.
#[pyfunction]
fn end_tasklets(py: Python<'_>) -> PyResult<()> {
    let problem = |left| PyRuntimeError::new_err(format!("{left} tasklets were cancelled at the end, and did not end"));
    end_here(py).map_err(problem)
}

/// Leaves the world, whose tasklets have ended.
#[pyfunction]
fn leave_world() {
    drop(HERE.take());
}

/// The program ends: the world stays as it is, for what still happens.
pub(super) fn stay() {
    std::mem::forget(HERE.take());
}

/// How many nanoseconds have passed in the thread's world; `None` where it is in none.
#[pyfunction]
fn world_time() -> Option<u64> {
    sim::is_simulated().then(|| sim::elapsed().as_nanos() as u64)
}

fn outside() -> PyErr {
    PyRuntimeError::new_err("this is of a simulated world, and the thread is in none")
}

fn inside() -> PyResult<()> {
    if sim::is_simulated() { Ok(()) } else { Err(outside()) }
}

/// The hash and the decisions so far.
#[pyfunction]
fn world_seen() -> PyResult<(u64, String)> {
    HERE.with_borrow(|here| here.as_ref().map(|world| (world.hash(), world.decisions().to_string())))
        .ok_or_else(outside)
}

/// Has the world know how else each decision could have gone.
#[pyfunction]
fn world_keeps_bounds() -> PyResult<()> {
    HERE.with_borrow(|here| here.as_ref().map(Entered::keep_bounds)).ok_or_else(outside)
}

/// The ways that differ from the run's in one decision past the first `given`, with which they end.
#[pyfunction]
fn world_other_ways(given: usize) -> PyResult<Vec<String>> {
    let ways = |world: &Entered| world.other_ways(given).iter().map(Decisions::to_string).collect();
    HERE.with_borrow(|here| here.as_ref().map(ways)).ok_or_else(outside)
}

/// How many decisions are written there.
#[pyfunction]
fn count_decisions(decisions: &str) -> PyResult<usize> {
    decisions.parse::<Decisions>().map(|decisions| decisions.0.len()).map_err(from_io)
}

/// A number below `bound`, of the world's.
#[pyfunction]
fn world_random(bound: usize) -> PyResult<usize> {
    inside().map(|()| sim::random(bound))
}

/// Bytes of the world's; `None` where the thread is in none.
#[pyfunction]
fn world_bytes(py: Python<'_>, count: usize) -> PyResult<Option<Bound<'_, PyBytes>>> {
    if !sim::is_simulated() {
        return Ok(None);
    }
    PyBytes::new_with(py, count, |bytes| {
        bytes.iter_mut().for_each(|byte| *byte = sim::random(256) as u8);
        Ok(())
    })
    .map(Some)
}

/// Takes note of something: it goes into the hash.
#[pyfunction]
fn world_note(seen: u64) -> PyResult<()> {
    inside().map(|()| sim::note(seen))
}

#[pyfunction]
fn set_rules(rules: &Rules) -> PyResult<()> {
    inside().map(|()| sim::set_rules(rules.0.clone()))
}

fn address(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IPv4 or IPv6 address")))
}

#[pyfunction]
fn set_link(from: &str, to: &str, is_down: bool, delay: f64, loss: u32) -> PyResult<()> {
    inside()?;
    sim::set_link(address(from)?, address(to)?, Link { is_down, delay: seconds(delay)?, loss });
    Ok(())
}

#[pyfunction]
fn heal_links() -> PyResult<()> {
    inside().map(|()| sim::heal_links())
}

#[pyfunction]
fn set_name(name: &str, addresses: Vec<String>) -> PyResult<()> {
    inside()?;
    let addresses = addresses.iter().map(|text| address(text)).collect::<PyResult<_>>()?;
    sim::set_name(name, addresses);
    Ok(())
}

/// The addresses of a name of the world, whether that is certain, and how many seconds it takes to ask for them; `None` where the
/// thread is in none.
#[pyfunction]
fn world_addresses(name: &str) -> Option<(Vec<String>, bool, f64)> {
    let (time, found) = look_up(name)?;
    let (addresses, certain) = match found {
        Ok(addresses) => (addresses.iter().map(IpAddr::to_string).collect(), true),
        Err(error) => (Vec::new(), error.kind() == std::io::ErrorKind::NotFound),
    };
    Some((addresses, certain, time.as_secs_f64()))
}

/// Lets time pass in which nobody does anything.
#[pyfunction]
fn stall(time: f64) -> PyResult<()> {
    inside()?;
    sim::stall(seconds(time)?);
    Ok(())
}

/// Calls `fails` with decisions that are simpler than these, with which something fails; it says whether it still does.
#[pyfunction]
fn shrink_decisions(decisions: &str, fails: &Bound<'_, PyAny>) -> PyResult<()> {
    let decisions: Decisions = decisions.parse().map_err(from_io)?;
    let mut raised = None;
    shrink(decisions, |simpler| {
        // There is no way out of the search but that nothing fails any more.
        let failed =
            raised.is_none().then(|| fails.call1((simpler.to_string(),)).and_then(|failed| failed.is_truthy()));
        failed.is_some_and(|failed| failed.unwrap_or_else(|error| raised.replace(error).is_some()))
    });
    raised.map_or(Ok(()), Err)
}

pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Rules>()?;
    for function in [
        wrap_pyfunction!(enter_world, module)?,
        wrap_pyfunction!(end_tasklets, module)?,
        wrap_pyfunction!(leave_world, module)?,
        wrap_pyfunction!(world_time, module)?,
        wrap_pyfunction!(world_seen, module)?,
        wrap_pyfunction!(world_keeps_bounds, module)?,
        wrap_pyfunction!(world_other_ways, module)?,
        wrap_pyfunction!(count_decisions, module)?,
        wrap_pyfunction!(world_random, module)?,
        wrap_pyfunction!(world_bytes, module)?,
        wrap_pyfunction!(world_note, module)?,
        wrap_pyfunction!(set_rules, module)?,
        wrap_pyfunction!(set_link, module)?,
        wrap_pyfunction!(heal_links, module)?,
        wrap_pyfunction!(set_name, module)?,
        wrap_pyfunction!(world_addresses, module)?,
        wrap_pyfunction!(stall, module)?,
        wrap_pyfunction!(shrink_decisions, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
