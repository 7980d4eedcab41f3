//! Limits of time against what hangs. They follow the load: what others keep waiting does not hang.

use std::time::Duration;

/// How long anything may take where nobody else wants the processors. For what is looked at often: who has waited so long
/// asks for [`patience`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long anything may take now.
pub(crate) fn patience() -> Duration {
    crowded(PATIENCE)
}

/// A limit, as many times as long as processes wanted each processor in the last minute (the load average, proc(5)): from
/// once to ten times; once where the system tells none.
pub(crate) fn crowded(limit: Duration) -> Duration {
    let paths = ["/proc/loadavg", r"Z:\proc\loadavg"];
    let told = paths.iter().find_map(|path| std::fs::read_to_string(path).ok()?.split(' ').next()?.parse::<f64>().ok());
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    limit.mul_f64((told.unwrap_or(0.0) / processors as f64).clamp(1.0, 10.0))
}
