//! What the simulated scenes have in common: two clients that each ask a server ten times, and each answer is the question.

use crate::Laps;

/// Schedules in a batch.
pub const SCHEDULES: u32 = 200;
/// How often a client asks.
pub const ECHOES: usize = 10;

/// Prints what a schedule costs, in nanoseconds, and how many seconds pass in it for each that it takes.
pub fn print(laps: Laps, virtual_seconds_of_a_schedule: f64) {
    let schedule = laps.nanoseconds();
    let faster = virtual_seconds_of_a_schedule / (schedule / 1e9);
    println!(r#"{{"schedule": {schedule:.1}, "faster": {faster:.1}}}"#);
}
