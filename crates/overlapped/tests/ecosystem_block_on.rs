//! `block_on`: futures that are woken early, late, often, from elsewhere, or never.

mod support;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use overlapped::ecosystem::in_tasklet;
use overlapped::{Event, block_on, sleep, spawn, timeout, uncancellable, yield_now};
use support::{LONG, Log, LogsDrop, Watch, pattern, run, storms, wait_for};

const MOMENT: Duration = Duration::from_millis(5);

/// Ready when it was told so, by whom and wherever.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(bool, Option<Waker>)>>);

impl Told {
    fn tell(&self) {
        let waker = {
            let mut told = self.0.lock().unwrap();
            told.0 = true;
            told.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_waited_for(&self) -> bool {
        self.0.lock().unwrap().1.is_some()
    }
}

impl Future for Told {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut told = self.0.lock().unwrap();
        if told.0 {
            return Poll::Ready(());
        }
        told.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Pending so many times, having woken itself each time.
async fn turns(count: usize) {
    let mut left = count;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn only_the_calling_tasklet_waits() {
    run(|| {
        let (told, log) = (Told::default(), Log::new());
        let (future, theirs) = (told.clone(), log.clone());
        let waiter = spawn(move || {
            block_on(future);
            theirs.add("told");
        });
        yield_now();
        log.add("meanwhile");
        told.tell();
        waiter.join().unwrap();
        assert_eq!(log.take(), ["meanwhile", "told"]);
    });
}

#[test]
fn a_wake_from_another_thread_arrives_whenever_it_comes() {
    run(|| {
        for round in 0..500_u64 {
            let told = Told::default();
            let theirs = told.clone();
            let thread = std::thread::spawn(move || {
                if round % 3 == 0 {
                    std::thread::sleep(Duration::from_micros(round));
                }
                theirs.tell();
            });
            block_on(told);
            thread.join().unwrap();
        }
    });
}

#[test]
fn outside_of_run_the_thread_waits() {
    let _watch = Watch::new();
    let told = Told::default();
    let theirs = told.clone();
    let thread = std::thread::spawn(move || {
        while !theirs.is_waited_for() {
            std::thread::yield_now();
        }
        theirs.tell();
    });
    block_on(async {
        told.await;
        turns(3).await;
        block_on(turns(3));
    });
    thread.join().unwrap();
}

#[test]
fn a_future_that_wakes_itself_again_and_again_lets_others_run() {
    run(|| {
        let stop = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&stop);
        spawn(move || {
            sleep(MOMENT);
            theirs.set(true);
        });
        block_on(async {
            while !stop.get() {
                turns(1).await;
            }
        });
        // So do futures that are ready at once.
        let begun = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&begun);
        spawn(move || theirs.set(true));
        while !begun.get() {
            block_on(ready(()));
        }
    });
}

#[test]
fn one_that_is_never_woken_is_dropped_where_the_tasklet_is_cancelled_or_out_of_time() {
    struct Cleans(Log);
    impl Drop for Cleans {
        fn drop(&mut self) {
            // On a living tasklet: a destructor may wait, for a future as well.
            sleep(MOMENT);
            block_on(turns(3));
            self.0.add("cleaned");
        }
    }
    run(|| {
        let log = Log::new();
        let cleans = Cleans(log.clone());
        let waiter = spawn(move || {
            block_on(async move {
                let _cleans = cleans;
                pending::<()>().await;
            });
        });
        yield_now();
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["cleaned"]);

        let cleans = LogsDrop(log.clone(), "dropped");
        let late = timeout(MOMENT, || {
            block_on(async move {
                let _cleans = cleans;
                pending::<()>().await;
            })
        });
        assert!(late.is_err());
        assert_eq!(log.take(), ["dropped"]);
        assert_eq!(timeout(LONG, || block_on(ready(1))), Ok(1));
    });
}

#[test]
fn a_future_that_wakes_itself_for_ever_can_be_cancelled() {
    run(|| {
        let spins = spawn(|| block_on(turns(usize::MAX)));
        let ready = spawn(|| {
            loop {
                block_on(ready(()));
            }
        });
        yield_now();
        for waiter in [spins, ready] {
            waiter.cancel();
            assert!(waiter.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn where_nothing_is_to_be_told_a_future_is_waited_for_to_its_end() {
    run(|| {
        let told = Told::default();
        let future = told.clone();
        let waiter = spawn(move || uncancellable(|| block_on(future)));
        yield_now();
        waiter.cancel();
        yield_now();
        told.tell();
        waiter.join().unwrap();
    });
}

#[test]
fn inside_of_a_future_whatever_waits_may_wait_another_block_on_too() {
    run(|| {
        let (told, log) = (Told::default(), Log::new());
        let (inner, theirs) = (told.clone(), log.clone());
        let waiter = spawn(move || {
            block_on(async {
                turns(2).await;
                sleep(MOMENT);
                block_on(async {
                    block_on(inner);
                    theirs.add("inner");
                });
                turns(2).await;
                theirs.add("outer");
            });
        });
        wait_for("the inner one waits", || told.is_waited_for());
        told.tell();
        waiter.join().unwrap();
        assert_eq!(log.take(), ["inner", "outer"]);
    });
}

#[test]
fn a_wake_of_the_outer_future_is_not_lost_while_an_inner_one_waits() {
    run(|| {
        let (outer, inner) = (Told::default(), Told::default());
        let (polled, waits) = (outer.clone(), inner.clone());
        let waiter = spawn(move || {
            let mut first = true;
            let mut polled = polled;
            block_on(poll_fn(move |context| {
                let done = Pin::new(&mut polled).poll(context);
                if std::mem::take(&mut first) {
                    block_on(waits.clone());
                }
                done
            }));
        });
        wait_for("both wait", || outer.is_waited_for() && inner.is_waited_for());
        outer.tell();
        inner.tell();
        waiter.join().unwrap();
    });
}

#[test]
fn a_waker_that_outlives_its_wait_and_its_run_wakes_nobody() {
    let (sender, receiver) = mpsc::channel();
    run(|| {
        let keeps = |sender: mpsc::Sender<Waker>| {
            let mut first = true;
            poll_fn(move |context| {
                sender.send(context.waker().clone()).unwrap();
                context.waker().wake_by_ref();
                if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
            })
        };
        block_on(keeps(sender));
        for waker in receiver.try_iter().collect::<Vec<_>>() {
            waker.wake_by_ref();
            std::thread::spawn(move || waker.wake()).join().unwrap();
        }
        let (sender, late) = mpsc::channel();
        let left = spawn(move || {
            timeout(MOMENT, || {
                block_on(poll_fn(|context| {
                    sender.send(context.waker().clone()).unwrap();
                    Poll::<()>::Pending
                }))
            })
        });
        assert!(left.join().unwrap().is_err());
        late
    })
    .try_iter()
    .for_each(Waker::wake);
}

#[test]
fn a_storm_of_wakes_from_threads_loses_none() {
    const THREADS: usize = 4;
    const TASKLETS: usize = 50;
    const WAKES: usize = 40;
    storms(5, |random| {
        let futures: Vec<Vec<Told>> = (0..TASKLETS).map(|_| (0..WAKES).map(|_| Told::default()).collect()).collect();
        let mut all: Vec<Told> = futures.iter().flatten().cloned().collect();
        random.shuffle(&mut all);
        let polls = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = all
            .chunks(all.len().div_ceil(THREADS))
            .map(|part| {
                let part = part.to_vec();
                std::thread::spawn(move || part.iter().for_each(Told::tell))
            })
            .collect();
        let tasklets: Vec<_> = futures
            .into_iter()
            .map(|futures| {
                let polls = Arc::clone(&polls);
                spawn(move || {
                    for future in futures {
                        block_on(future);
                        polls.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(polls.load(Ordering::Relaxed), TASKLETS * WAKES);
    });
}

#[test]
fn a_panic_of_the_future_is_the_callers() {
    run(|| {
        let waiter = spawn(|| {
            block_on(async {
                turns(1).await;
                panic!("a future's");
            })
        });
        let payload = waiter.join().unwrap_err().into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a future's"));
    });
}

#[test]
fn a_callback_of_the_loop_may_have_what_is_ready_and_not_wait() {
    run(|| {
        let (done, log) = (Event::new(), Log::new());
        let (set, theirs) = (done.clone(), log.clone());
        overlapped::reactor::call_soon(move || {
            theirs.add(format!("{}", block_on(ready(7))));
            let waits = std::panic::catch_unwind(|| block_on(turns(1)));
            theirs.add(if waits.is_err() { "refused" } else { "waited" });
            set.set();
        });
        done.wait();
        assert_eq!(log.take(), ["7", "refused"]);
    });
}

#[test]
fn a_tasklet_is_awaited_from_tasklets_and_from_threads() {
    run(|| {
        let slow = spawn(|| {
            sleep(MOMENT);
            pattern(0, 3)
        });
        assert_eq!(block_on(slow).unwrap(), pattern(0, 3));
        let fails = spawn(|| panic!("on purpose"));
        assert!(block_on(fails).unwrap_err().is_panic());
        let never = spawn(|| sleep(LONG));
        never.cancel();
        assert!(block_on(never).unwrap_err().is_cancelled());
        let here = overlapped::handle();
        let thread = std::thread::spawn(move || block_on(async { here.spawn(|| 42).await.unwrap() }));
        wait_for("the thread has its answer", || thread.is_finished());
        assert_eq!(thread.join().unwrap(), 42);
    });
}

#[test]
fn what_runs_in_a_tasklet_of_a_futures_ends_with_the_future() {
    run(|| {
        let log = Log::new();
        let drops = LogsDrop(log.clone(), "dropped");
        let ended = Event::new();
        let set = ended.clone();
        let future = in_tasklet(move || {
            struct Sets(Event);
            impl Drop for Sets {
                fn drop(&mut self) {
                    self.0.set();
                }
            }
            let _both = (Sets(set), drops);
            sleep(LONG);
        });
        yield_now();
        drop(future);
        ended.wait();
        wait_for("it has ended", || log.len() == 1);
        assert_eq!(
            block_on(in_tasklet(|| block_on(async {
                turns(5).await;
                5
            })))
            .unwrap(),
            5
        );
    });
}
