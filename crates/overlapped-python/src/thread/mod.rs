//! A thread's tasklets. Each file stands on those above it:
//!
//! ```text
//!   thrown      exceptions on their way to tasklets        asyncio   the loop that runs, one for each tasklet
//!   greenlets   which greenlet a tasklet has
//!   runtime     what this thread has                       explain   where its tasklets are, as any thread sees it
//!   settings    what a program may choose
//!   signal      handlers are the main tasklet's            deadlock  nobody is left to wake anybody
//!   idle        who waits until nobody is left to run       inside    who is inside of a `with` statement
//!   hooks       trace and profile functions, for each tasklet
//!   worker      how greenlets switch                         stack     how much a thread of the pool has
//!   preempt     who computes for too long gives way         held      who is told of one that holds the thread
//!   life        from the first call to the end of the thread, a fork, the end of the program
//!   world       a simulated one, in which all of that happens
//!   tasklet, time, offload, report, no_preempt, pause                   order     who runs when, as Stackless has it
//! ```

mod asyncio;
mod awaiting;
pub(crate) mod deadlock;
mod explain;
mod greenlets;
mod held;
mod hooks;
mod idle;
mod inside;
pub(crate) mod life;
mod no_preempt;
mod offload;
mod order;
mod pause;
mod preempt;
mod report;
pub(crate) mod runtime;
mod settings;
pub(crate) mod signal;
mod stack;
mod switches;
pub(crate) mod tasklet;
mod thrown;
pub(crate) mod time;
mod worker;
#[cfg(unix)]
mod world;

use pyo3::prelude::*;

/// Adds what Python sees of this to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    signal::learn_main_thread(py)?;
    // What is made once is made now: while it is, the collector may run a finalizer, which may need it too.
    worker::prepare(py)?;
    life::prepare(py);
    explain::prepare(py)?;
    hooks::prepare(py)?;
    module.add("TaskletExit", thrown::exit_type(py))?;
    module.add_class::<tasklet::Tasklet>()?;
    module.add_class::<time::Alarm>()?;
    module.add_class::<time::Uncancellable>()?;
    module.add_class::<signal::MainHandler>()?;
    module.add_class::<preempt::Preemption>()?;
    module.add_class::<no_preempt::NoPreemption>()?;
    module.add("spawn", tasklet::spawn_function(module)?)?;
    for function in [
        wrap_pyfunction!(tasklet::current, module)?,
        wrap_pyfunction!(tasklet::run, module)?,
        wrap_pyfunction!(time::sleep, module)?,
        wrap_pyfunction!(offload::offload, module)?,
        wrap_pyfunction!(offload::offload_endless, module)?,
        wrap_pyfunction!(offload::offload_short, module)?,
        wrap_pyfunction!(explain::explain, module)?,
        wrap_pyfunction!(settings::configure, module)?,
        wrap_pyfunction!(explain::own_descriptors, module)?,
        wrap_pyfunction!(explain::_current_frames, module)?,
        wrap_pyfunction!(explain::_current_exceptions, module)?,
        wrap_pyfunction!(hooks::_settraceallthreads, module)?,
        wrap_pyfunction!(hooks::_setprofileallthreads, module)?,
        wrap_pyfunction!(report::watch, module)?,
        wrap_pyfunction!(held::watch_threads, module)?,
        wrap_pyfunction!(report::is_alone, module)?,
        wrap_pyfunction!(preempt::preempt, module)?,
        wrap_pyfunction!(preempt::preempt_by, module)?,
        wrap_pyfunction!(preempt::while_nobody_asks, module)?,
        wrap_pyfunction!(pause::await_handler, module)?,
        wrap_pyfunction!(pause::signal_descriptor, module)?,
        wrap_pyfunction!(pause::on_main_thread, module)?,
        wrap_pyfunction!(report::tasklets, module)?,
        wrap_pyfunction!(report::backend, module)?,
        wrap_pyfunction!(report::report, module)?,
        wrap_pyfunction!(report::in_flight, module)?,
        wrap_pyfunction!(life::after_fork_in_child, module)?,
        wrap_pyfunction!(life::end_program, module)?,
        wrap_pyfunction!(runtime::program_ends, module)?,
        wrap_pyfunction!(asyncio::keep_loops_apart, module)?,
        wrap_pyfunction!(order::state, module)?,
        wrap_pyfunction!(order::pause, module)?,
        wrap_pyfunction!(order::resume, module)?,
        wrap_pyfunction!(order::turn_to, module)?,
        wrap_pyfunction!(order::go_to, module)?,
        wrap_pyfunction!(order::throw_to, module)?,
        wrap_pyfunction!(order::give_turn, module)?,
        wrap_pyfunction!(order::pause_current, module)?,
        wrap_pyfunction!(order::ready_count, module)?,
        wrap_pyfunction!(order::neighbours, module)?,
        wrap_pyfunction!(order::main_tasklet, module)?,
        wrap_pyfunction!(order::run_until_idle, module)?,
        wrap_pyfunction!(order::innermost_run, module)?,
        wrap_pyfunction!(order::let_port_count, module)?,
        wrap_pyfunction!(order::poll, module)?,
        wrap_pyfunction!(order::frame_of, module)?,
        wrap_pyfunction!(tasklet::spawn_member, module)?,
        wrap_pyfunction!(tasklet::spawn_there, module)?,
        wrap_pyfunction!(switches::on_switch, module)?,
        wrap_pyfunction!(crate::python::time::clock, module)?,
        wrap_pyfunction!(crate::python::time::is_simulated, module)?,
    ] {
        module.add_function(function)?;
    }
    #[cfg(unix)]
    world::add_to(module)?;
    Ok(())
}
