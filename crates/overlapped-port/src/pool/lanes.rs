//! Which job begins when: the decisions of the pool, as steps that take the time as a number and start no thread.
//!
//! Jobs of a kind share a lane, and a lane lets a few run at once. In some lanes a job may turn out to wait for what never
//! comes: the open of a FIFO, anything on a mount whose server is dead. Nothing tells beforehand, so it is told by time:
//! where jobs wait and none has begun for [`STALL`], all that run are taken for stuck, and as many again may begin (a new
//! *shift*). A lane thus grows with how long its jobs take, and by nothing when they are quick. What was rejected: a thread
//! for each open (ten thousand tasklets that read a file each would start ten thousand), and asking stat(2) first (which
//! waits on a dead mount, and may be wrong by the time of the open).
//!
//! Taking a job back is one look into a table: its number stays in the queue and is passed over.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use crate::op::{Function, Lane, Opening};
use crate::slots::OpId;

/// After so long without a beginning, a lane's running jobs are taken for stuck.
pub(super) const STALL: Duration = Duration::from_millis(10);

/// After so long without a beginning, in a lane that cannot grow any more, what waits is refused.
pub(super) const REFUSAL: Duration = Duration::from_secs(1);

/// How long an idle thread waits for work before it ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The most threads that one lane ever has.
pub(super) const MOST: usize = 256;

/// Room in a queue that is kept when it is empty.
const KEPT: usize = 1024;

/// What the pool is to run.
pub(crate) enum Task {
    /// A function in a lane of its user's choice.
    Call(Function, Lane),
    /// An open: cancelled while it runs, it is left to its thread, for it borrows nothing.
    Open(Opening),
}

impl Task {
    fn track(&self) -> usize {
        match self {
            Task::Call(_, Lane::Short) => 0,
            Task::Open(_) => OPENS,
            Task::Call(_, Lane::Long) => 2,
            Task::Call(_, Lane::Endless) => 3,
        }
    }
}

const OPENS: usize = 1;

/// The jobs of one kind.
struct Track {
    /// Those that wait, and numbers of some that were taken back.
    queue: VecDeque<OpId>,
    /// How many really wait.
    waiting: usize,
    /// How many of the present shift run.
    running: usize,
    /// How many run at all.
    threads: usize,
    /// How many of a shift may run at once.
    limit: usize,
    /// Whether what runs for long makes room for a new shift.
    grows: bool,
    shift: u64,
    /// When a job last began.
    moved: Option<Instant>,
}

impl Track {
    fn new(limit: usize, grows: bool) -> Track {
        Track { queue: VecDeque::new(), waiting: 0, running: 0, threads: 0, limit, grows, shift: 0, moved: None }
    }

    fn most(&self) -> usize {
        MOST.max(self.limit)
    }

    fn is_full(&self) -> bool {
        self.threads >= self.most()
    }

    /// Since when none has begun.
    fn still(&self, now: Instant) -> Duration {
        self.moved.map_or(Duration::MAX, |moved| now.saturating_duration_since(moved))
    }

    fn is_stalled(&self, now: Instant) -> bool {
        self.grows && self.running >= self.limit && self.still(now) >= STALL
    }

    /// How many jobs may begin now.
    fn may_begin(&self, now: Instant) -> usize {
        let free = if self.is_stalled(now) { self.limit } else { self.limit.saturating_sub(self.running) };
        self.waiting.min(free).min(self.most().saturating_sub(self.threads))
    }
}

/// Where a job is, for who takes it back.
enum Stage {
    Waits(Task),
    /// It is an open, which a thread has begun, and which was not cancelled.
    Opens,
}

/// A job that was taken out of its lane to be run.
pub(super) struct Begun {
    pub(super) id: OpId,
    pub(super) task: Task,
    track: usize,
    shift: u64,
}

impl Begun {
    /// What its end frees.
    pub(super) fn place(&self) -> Place {
        Place { track: self.track, shift: self.shift }
    }
}

/// The place of a running job.
#[derive(Clone, Copy)]
pub(super) struct Place {
    track: usize,
    shift: u64,
}

/// What a thread is to do.
pub(super) enum Next {
    Run(Begun),
    /// All threads of the lane are stuck, and there are as many as there may be: tell the operation so.
    Refuse(OpId, Task),
    Wait(Duration),
}

/// All jobs that wait or run, and the threads.
pub(super) struct Lanes {
    tracks: [Track; 4],
    jobs: HashMap<OpId, Stage>,
    pub(super) threads: usize,
    pub(super) idle: usize,
    pub(super) closed: bool,
}

impl Lanes {
    /// Lanes of `limit` jobs at once.
    pub(super) fn new(limit: usize) -> Lanes {
        let limit = limit.max(1);
        Lanes {
            tracks: [
                Track::new(limit, true),
                Track::new(limit, true),
                Track::new(limit, false),
                Track::new(usize::MAX >> 1, false),
            ],
            jobs: HashMap::new(),
            threads: 0,
            idle: 0,
            closed: false,
        }
    }

    /// Takes a job in.
    ///
    /// # Errors
    /// Where it may wait without end and too many do, and where there is no memory; the job comes back.
    pub(super) fn push(&mut self, id: OpId, task: Task) -> Result<(), (io::Error, Task)> {
        let index = task.track();
        let track = &mut self.tracks[index];
        if matches!(task, Task::Call(_, Lane::Endless)) && track.threads + track.waiting >= MOST {
            return Err((too_many(), task));
        }
        if self.jobs.try_reserve(1).is_err() || track.queue.try_reserve(1).is_err() {
            return Err((io::ErrorKind::OutOfMemory.into(), task));
        }
        track.queue.push_back(id);
        track.waiting += 1;
        self.jobs.insert(id, Stage::Waits(task));
        Ok(())
    }

    /// Whether one more thread is needed; it is counted from now on.
    pub(super) fn recruit(&mut self, now: Instant) -> bool {
        let may_begin: usize = self.tracks.iter().map(|track| track.may_begin(now)).sum();
        // Where a lane may turn out to be stuck, a thread has to watch.
        let watched = self.tracks.iter().any(|track| track.grows && track.waiting > track.may_begin(now));
        let wanted = may_begin + usize::from(watched);
        let more = wanted > self.idle;
        self.threads += usize::from(more);
        more
    }

    /// What a thread that has nothing to do does.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let mut patience = PATIENCE;
        for index in 0..self.tracks.len() {
            let track = &mut self.tracks[index];
            if track.waiting == 0 {
                continue;
            }
            if track.may_begin(now) > 0 {
                if track.is_stalled(now) {
                    track.shift += 1;
                    track.running = 0;
                }
                track.running += 1;
                track.threads += 1;
                track.moved = Some(now);
                let shift = track.shift;
                let (id, task) = self.pop(index);
                if index == OPENS {
                    self.jobs.insert(id, Stage::Opens);
                }
                return Next::Run(Begun { id, task, track: index, shift });
            }
            if track.grows {
                let limit = if track.is_full() { REFUSAL } else { STALL };
                if track.is_full() && track.still(now) >= limit {
                    let (id, task) = self.pop(index);
                    return Next::Refuse(id, task);
                }
                patience = patience.min(limit.saturating_sub(track.still(now)));
            }
        }
        Next::Wait(patience)
    }

    /// Whether a thread that nothing has come for is not needed.
    pub(super) fn has_nothing_for_more(&self) -> bool {
        self.tracks.iter().all(|track| track.waiting == 0)
    }

    /// The first job that waits in a lane.
    fn pop(&mut self, index: usize) -> (OpId, Task) {
        let track = &mut self.tracks[index];
        loop {
            let id = track.queue.pop_front().expect("a job waits");
            if let Some(Stage::Waits(task)) = self.jobs.remove(&id) {
                track.waiting -= 1;
                self.tidy(index);
                return (id, task);
            }
        }
    }

    /// Keeps no memory for what is gone.
    fn tidy(&mut self, index: usize) {
        let track = &mut self.tracks[index];
        if track.waiting == 0 {
            track.queue.clear();
            track.queue.shrink_to(KEPT);
            if self.jobs.len() < KEPT && self.jobs.capacity() > 4 * KEPT {
                self.jobs.shrink_to(KEPT);
            }
        } else if track.queue.len() > 2 * track.waiting + KEPT {
            let jobs = &self.jobs;
            track.queue.retain(|id| matches!(jobs.get(id), Some(Stage::Waits(_))));
        }
    }

    /// A thread is through with a job.
    pub(super) fn ended(&mut self, place: Place) {
        let track = &mut self.tracks[place.track];
        track.threads -= 1;
        if track.shift == place.shift {
            track.running -= 1;
        }
    }

    /// True where the open was not cancelled; from now on it counts as over.
    pub(super) fn conclude_open(&mut self, id: OpId) -> bool {
        matches!(self.jobs.get(&id), Some(Stage::Opens)) && self.jobs.remove(&id).is_some()
    }

    /// Takes a job back.
    pub(super) fn cancel(&mut self, id: OpId) -> Cancelled {
        match self.jobs.remove(&id) {
            None => Cancelled::TooLate,
            Some(Stage::Opens) => Cancelled::Left,
            Some(Stage::Waits(task)) => {
                let index = task.track();
                self.tracks[index].waiting -= 1;
                self.tidy(index);
                Cancelled::Unrun(task)
            }
        }
    }

    /// No thread could be started: takes a job back that is not sure to find one.
    pub(super) fn give_up(&mut self, id: OpId) -> Option<Task> {
        let Some(Stage::Waits(task)) = self.jobs.get(&id) else { return None };
        let track = task.track();
        // A function that takes long waits for its turn in any case.
        if matches!(task, Task::Call(_, Lane::Long)) && self.tracks[track].threads > 0 {
            return None;
        }
        match self.cancel(id) {
            Cancelled::Unrun(task) => Some(task),
            Cancelled::Left | Cancelled::TooLate => unreachable!("it waits"),
        }
    }
}

/// What became of a job that was to be taken back.
pub(super) enum Cancelled {
    /// No thread had begun it.
    Unrun(Task),
    /// It is an open, and is left to its thread.
    Left,
    /// It runs, or is over.
    TooLate,
}

/// The error where the threads that may wait without end all do.
pub(super) fn too_many() -> io::Error {
    let text = format!(
        "{MOST} threads of this port are in calls that do not end (opens of FIFOs or devices, file systems that do not \
         answer, functions that wait), and it starts no more"
    );
    io::Error::new(io::ErrorKind::WouldBlock, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes with a clock.
    struct Scene {
        lanes: Lanes,
        now: Instant,
        next: u32,
    }

    impl Scene {
        fn new(limit: usize) -> Scene {
            Scene { lanes: Lanes::new(limit), now: Instant::now(), next: 0 }
        }

        fn push(&mut self, task: Task) -> OpId {
            self.next += 1;
            let id = OpId::new(self.next, 1);
            assert!(self.lanes.push(id, task).is_ok());
            id
        }

        fn push_many(&mut self, count: usize, task: impl Fn() -> Task) {
            (0..count).for_each(|_| {
                self.push(task());
            });
        }

        /// Begins what may begin now; the places that it took.
        fn begin_all(&mut self) -> Vec<(OpId, Place)> {
            let mut begun = Vec::new();
            while let Next::Run(job) = self.lanes.next(self.now) {
                begun.push((job.id, job.place()));
            }
            begun
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }
    }

    fn open() -> Task {
        Task::Open(Box::new(|_| Ok(0)))
    }

    fn call(lane: Lane) -> Task {
        Task::Call(Box::new(|| Ok(0)), lane)
    }

    #[test]
    fn a_lane_runs_a_few_at_once_and_in_order() {
        let mut scene = Scene::new(2);
        let ids: Vec<_> = (0..3).map(|_| scene.push(call(Lane::Short))).collect();
        let begun = scene.begin_all();
        assert_eq!(begun.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[..2]);
        scene.lanes.ended(begun[0].1);
        assert_eq!(scene.begin_all()[0].0, ids[2]);
    }

    #[test]
    fn what_is_stuck_makes_room_after_a_while_and_not_before() {
        let mut scene = Scene::new(2);
        scene.push_many(6, open);
        let first = scene.begin_all();
        assert_eq!(first.len(), 2);
        scene.pass(STALL / 2);
        assert_eq!(scene.begin_all().len(), 0);
        assert!(matches!(scene.lanes.next(scene.now), Next::Wait(time) if time == STALL / 2), "a thread watches");
        scene.pass(STALL / 2);
        assert_eq!(scene.begin_all().len(), 2);
        // One of the first ends at last: it makes no room, for it was not counted any more.
        scene.lanes.ended(first[0].1);
        assert_eq!(scene.begin_all().len(), 0);
        scene.pass(STALL);
        assert_eq!(scene.begin_all().len(), 2);
    }

    #[test]
    fn a_job_that_comes_where_all_have_long_been_stuck_begins_at_once() {
        let mut scene = Scene::new(2);
        scene.push_many(2, open);
        scene.begin_all();
        scene.pass(STALL * 100);
        let late = scene.push(open());
        assert!(scene.lanes.recruit(scene.now));
        assert_eq!(scene.begin_all()[0].0, late);
    }

    #[test]
    fn long_functions_wait_in_line_and_hold_back_no_others() {
        let mut scene = Scene::new(2);
        scene.push_many(5, || call(Lane::Long));
        assert_eq!(scene.begin_all().len(), 2);
        scene.pass(STALL * 100);
        assert_eq!(scene.begin_all().len(), 0, "they are long, not stuck");
        let short = scene.push(call(Lane::Short));
        let open = scene.push(open());
        assert_eq!(scene.begin_all().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [short, open]);
    }

    #[test]
    fn stuck_opens_come_to_an_end_of_threads_and_are_then_refused() {
        let mut scene = Scene::new(8);
        scene.push_many(MOST + 1, open);
        for _ in 0..MOST / 8 {
            assert_eq!(scene.begin_all().len(), 8);
            scene.pass(STALL);
        }
        assert!(matches!(scene.lanes.next(scene.now), Next::Wait(_)));
        assert!(scene.lanes.recruit(scene.now), "a thread watches there too");
        scene.pass(REFUSAL);
        assert!(matches!(scene.lanes.next(scene.now), Next::Refuse(..)));
        let short = scene.push(call(Lane::Short));
        assert_eq!(scene.begin_all()[0].0, short);
    }

    #[test]
    fn functions_that_wait_without_end_begin_at_once_and_are_refused_beyond_the_last_thread() {
        let mut scene = Scene::new(2);
        scene.push_many(MOST, || call(Lane::Endless));
        assert_eq!(scene.begin_all().len(), MOST);
        let (error, _) = scene.lanes.push(OpId::new(9999, 1), call(Lane::Endless)).err().unwrap();
        assert!(error.to_string().contains("starts no more"), "{error}");
    }

    #[test]
    fn a_job_that_is_taken_back_is_passed_over() {
        let mut scene = Scene::new(1);
        let ids: Vec<_> = (0..5000).map(|_| scene.push(call(Lane::Long))).collect();
        for id in &ids[..4999] {
            assert!(matches!(scene.lanes.cancel(*id), Cancelled::Unrun(_)));
        }
        assert!(scene.lanes.tracks[2].queue.len() <= KEPT + 2, "what was taken back takes no room for ever");
        assert_eq!(scene.begin_all()[0].0, ids[4999]);
        assert!(matches!(scene.lanes.cancel(ids[4999]), Cancelled::TooLate));
        assert!(scene.lanes.tracks[2].queue.capacity() <= 2 * KEPT, "and the queue shrinks again");
    }

    #[test]
    fn an_open_that_is_cancelled_while_it_runs_is_over_for_its_operation() {
        let mut scene = Scene::new(1);
        let id = scene.push(open());
        scene.begin_all();
        assert!(matches!(scene.lanes.cancel(id), Cancelled::Left));
        assert!(!scene.lanes.conclude_open(id));
    }

    #[test]
    fn threads_are_recruited_for_what_may_begin_and_for_a_watch() {
        let mut scene = Scene::new(2);
        let mut recruited = 0;
        for _ in 0..10 {
            scene.push(open());
            if scene.lanes.recruit(scene.now) {
                recruited += 1;
                scene.lanes.idle += 1;
            }
        }
        assert_eq!(recruited, 3);
    }
}
