//! Running a scene: once, or under many seeds.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;
use std::time::Duration;

use overlapped_port::Kind;
use overlapped_port::sim::{Decisions, Entered, Origin, Rules, enter};

use super::watchdog::Watchdog;
use super::{elapsed, said, shrink, stuck};
use crate::entry::Config;
use crate::scheduler::try_current;
use crate::tasklet::spawn;

/// The real time that one run may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How to run in a simulated world: under which rules, and how its tasklets are configured.
#[derive(Clone, Debug)]
pub struct Simulation {
    rules: Rules,
    config: Config,
    limit: Duration,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation::new()
    }
}

/// What [`Simulation::explore`] has seen where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How many seeds were run.
    pub runs: u64,
    /// How much time has passed in them, in all.
    pub elapsed: Duration,
    /// What everything that happened in them comes to: where the same seeds are run again, it is the same.
    pub hash: u64,
}

/// A scene that has failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The first seed, or the decisions, with which it did.
    pub origin: Origin,
    /// The shortest list of decisions that was found with which it does.
    pub decisions: Decisions,
    /// What its panic said with these, or what every tasklet waits for.
    pub message: String,
    /// What everything that happened with these comes to.
    pub hash: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fails: {}\nrun it again with OVERLAPPED_SIM={}", self.origin, self.message, self.decisions)
    }
}

impl std::error::Error for Failure {}

/// Runs `main` in a simulated world that `origin` decides, by the usual rules: [`Simulation::run`].
///
/// # Panics
/// As for [`Simulation::run`].
#[track_caller]
pub fn run<T: 'static>(origin: impl Into<Origin>, main: impl FnOnce() -> T + 'static) -> T {
    Simulation::new().run(origin, main)
}

/// Runs `scene` under many seeds, by the usual rules: [`Simulation::explore`], with a panic where one fails.
///
/// # Panics
/// With the [`Failure`] where the scene failed, and as for [`Simulation::run`].
#[track_caller]
pub fn explore(seeds: impl IntoIterator<Item = u64>, scene: impl Fn() + Clone + 'static) -> Explored {
    Simulation::new().explore(seeds, scene).unwrap_or_else(|failure| panic!("{failure}"))
}

impl Simulation {
    /// With the usual rules.
    pub fn new() -> Simulation {
        Simulation { rules: Rules::default(), config: Config::new(), limit: LIMIT }
    }

    /// With these rules.
    pub fn rules(mut self, rules: Rules) -> Simulation {
        self.rules = rules;
        self
    }

    /// With tasklets that are configured so. Its backend and its number of threads do not count.
    pub fn config(mut self, config: Config) -> Simulation {
        self.config = config;
        self
    }

    /// With this limit to the real time that one run may take (30 seconds unless told). A tasklet that never waits cannot be
    /// ended: past the limit the process is, with a line that says which run it was.
    pub fn limit(mut self, limit: Duration) -> Simulation {
        self.limit = limit;
        self
    }

    /// Runs `main` as the first tasklet of a simulated world that `origin` decides, or `OVERLAPPED_SIM` where it is set; as
    /// [`run`](crate::run) otherwise.
    ///
    /// # Panics
    /// With the panic of `main`; where every tasklet waits for what can never come; within [`run`](crate::run), or a
    /// simulation.
    #[track_caller]
    pub fn run<T: 'static>(&self, origin: impl Into<Origin>, main: impl FnOnce() -> T + 'static) -> T {
        let origin = from_environment().unwrap_or_else(|| origin.into());
        let watchdog = Watchdog::start(self.limit);
        watchdog.begin(&origin);
        self.within(origin.clone(), |world| {
            once(main).map_err(|fault| (fault, world.decisions())).map(|done| (done, world.hash()))
        })
        .map(|(done, _)| done)
        .unwrap_or_else(|(fault, decisions)| match fault {
            Fault::Panicked(payload) => {
                eprintln!("overlapped: simulated with {origin}; again: OVERLAPPED_SIM={decisions}");
                resume_unwind(payload)
            }
            Fault::Stuck(text) => panic!("{text}\nrun it again with OVERLAPPED_SIM={decisions}"),
        })
    }

    /// Runs `scene` under each seed, until one fails; or once, as `OVERLAPPED_SIM` says. Each has a world of its own, and
    /// ends when its first tasklet has ended; tasklets that are left are cancelled then.
    ///
    /// # Errors
    /// Where the scene panics, or every tasklet waits for what can never come.
    ///
    /// # Panics
    /// Within [`run`](crate::run), or a simulation.
    #[track_caller]
    pub fn explore(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        scene: impl Fn() + Clone + 'static,
    ) -> Result<Explored, Failure> {
        let from_environment = from_environment();
        let watchdog = Watchdog::start(self.limit);
        self.within(Origin::default(), |world| {
            let mut explored = Explored { runs: 0, elapsed: Duration::ZERO, hash: 0 };
            world.keep_decisions(false);
            let mut origins = seeds.into_iter().map(Origin::Seed);
            let mut given = from_environment.clone().into_iter();
            while let Some(origin) = if from_environment.is_some() { given.next() } else { origins.next() } {
                self.look(world, &watchdog, origin, &scene, &mut explored)?;
            }
            Ok(explored)
        })
    }

    /// Runs `scene` in every way that differs from the plain one in at most `deviations` decisions, until it fails with one; or
    /// once, as `OVERLAPPED_SIM` says. In the plain way everything is told at once, in the order in which it happened, and
    /// nothing fails. What is taken from [`random`](super::random) is always the same.
    ///
    /// Their number grows fast: with one deviation it is that of the decisions in a run, each as often as it can go another way
    /// ([`Rules::steady`] has few), with two half of its square. (Bounding the deviations: Emmi, Qadeer, Rakamarić,
    /// "Delay-bounded scheduling", 2011.)
    ///
    /// # Errors
    /// As for [`explore`](Simulation::explore).
    ///
    /// # Panics
    /// Within [`run`](crate::run), or a simulation.
    #[track_caller]
    pub fn exhaust(&self, deviations: usize, scene: impl Fn() + Clone + 'static) -> Result<Explored, Failure> {
        let from_environment = from_environment();
        let watchdog = Watchdog::start(self.limit);
        self.within(Origin::default(), |world| {
            let mut explored = Explored { runs: 0, elapsed: Duration::ZERO, hash: 0 };
            world.keep_bounds();
            let mut ways = vec![(Decisions::default(), deviations)];
            while let Some((way, deviations)) = ways.pop() {
                let given = way.0.len();
                let origin = from_environment.clone().unwrap_or(Origin::Decisions(way));
                self.look(world, &watchdog, origin, &scene, &mut explored)?;
                if deviations > 0 && from_environment.is_none() {
                    ways.extend(world.other_ways(given).into_iter().map(|way| (way, deviations - 1)));
                }
            }
            Ok(explored)
        })
    }

    /// Runs the scene once, and counts that, or makes what fails short.
    fn look(
        &self,
        world: &Entered,
        watchdog: &Watchdog,
        origin: Origin,
        scene: &(impl Fn() + Clone + 'static),
        explored: &mut Explored,
    ) -> Result<(), Failure> {
        match attempt(world, watchdog, &origin, scene, false) {
            Ok(()) => {
                explored.runs += 1;
                explored.elapsed += elapsed();
                explored.hash = explored.hash.rotate_left(5) ^ world.hash();
                Ok(())
            }
            Err(message) => Err(self.minimal(world, watchdog, origin, message, scene)),
        }
    }

    /// Runs what has failed again, for its decisions, and looks for a shorter list of them.
    fn minimal(
        &self,
        world: &Entered,
        watchdog: &Watchdog,
        origin: Origin,
        message: String,
        scene: &(impl Fn() + Clone + 'static),
    ) -> Failure {
        world.keep_decisions(true);
        let again = attempt(world, watchdog, &origin, scene, true);
        let mut failure = Failure { origin, decisions: world.decisions(), message, hash: world.hash() };
        if again.is_ok() {
            failure.message.push_str(" (and passes when it is run again: something in it is not the world's)");
            return failure;
        }
        shrink::shrink(world.decisions(), |decisions| {
            let fault = attempt(world, watchdog, &decisions.clone().into(), scene, true).err();
            if let Some(message) = &fault {
                failure.message.clone_from(message);
                failure.decisions = decisions.clone();
                failure.hash = world.hash();
            }
            fault.is_some()
        });
        failure
    }

    /// Enters a world, with a scheduler that is the world's.
    #[track_caller]
    fn within<T>(&self, origin: Origin, body: impl FnOnce(&Entered) -> T) -> T {
        assert!(try_current().is_none(), "a simulation is begun outside of overlapped::run");
        let world = enter(origin, self.rules.clone()).unwrap_or_else(|error| panic!("{error}"));
        let config = self.config.clone().schedulers(1).backend(Kind::Sim);
        config.run(|| body(&world))
    }
}

/// What has ended a scene.
enum Fault {
    Panicked(Box<dyn Any + Send>),
    Stuck(String),
}

/// Runs a scene to its end, and ends what it left.
fn once<T: 'static>(scene: impl FnOnce() -> T + 'static) -> Result<T, Fault> {
    let ended = spawn(scene).join();
    let scheduler = try_current().expect("a simulation has a scheduler");
    let left = scheduler.end_others();
    match (stuck::take(), ended) {
        (Some(text), _) => Err(Fault::Stuck(text)),
        (None, Ok(done)) if left == 0 => Ok(done),
        (None, Ok(_)) => Err(Fault::Stuck(format!("{left} tasklets were cancelled at the end, and did not end"))),
        (None, Err(error)) => {
            Err(Fault::Panicked(error.into_panic().unwrap_or_else(|error| Box::new(error.to_string()))))
        }
    }
}

/// Runs the scene in a world that begins anew; what it failed with.
fn attempt(
    world: &Entered,
    watchdog: &Watchdog,
    origin: &Origin,
    scene: &(impl Fn() + Clone + 'static),
    quietly: bool,
) -> Result<(), String> {
    world.begin_anew(origin.clone());
    watchdog.begin(origin);
    let _quiet = quietly.then(Quiet::begin);
    let scene = scene.clone();
    let ran = catch_unwind(AssertUnwindSafe(|| once(scene)));
    match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Fault::Stuck(text))) => Err(text),
        Ok(Err(Fault::Panicked(payload))) | Err(payload) => Err(said(&*payload).to_owned()),
    }
}

/// Until it is dropped, panics of this thread are not printed: what fails again and again while a shorter list is looked for
/// was printed once.
struct Quiet;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

impl Quiet {
    fn begin() -> Quiet {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !QUIET.get() {
                    before(panic);
                }
            }));
        });
        QUIET.set(true);
        Quiet
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// What the environment says, if it does.
///
/// # Panics
/// Where it says something that is neither a seed nor decisions.
fn from_environment() -> Option<Origin> {
    overlapped_port::sim::from_environment().unwrap_or_else(|error: io::Error| panic!("{error}"))
}
