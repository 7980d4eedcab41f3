//! Spans of `tracing`: a tasklet is in its own whenever it runs, and in no other's.

mod support;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::reactor::call_soon;
use overlapped::{
    Builder, Channel, Config, Event, Group, JoinHandle, Pool, handle, handles, scope, shield, sleep, spawn,
    spawn_anywhere, spawn_blocking, timeout, yield_now,
};
use support::{Watch, run};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::with_default;
use tracing::{Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// What a subscriber was told of a span or an event, by the field's name.
#[derive(Clone, Debug, Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// A span of a tasklet's, as console-subscriber counts it.
#[derive(Clone, Debug, Default)]
struct Task {
    fields: Fields,
    /// The thread on which it runs, as often as it was entered.
    runs: Vec<ThreadId>,
    polls: u32,
    wakes: u32,
    wakers: u32,
    comes_from: Option<u64>,
    closed: bool,
}

#[derive(Default)]
struct Seen {
    tasks: HashMap<u64, Task>,
    /// The message of each event, and the names of the spans that it was in, the outermost first.
    events: Vec<(String, Vec<String>)>,
    /// Spans that are no tasklet's and are open.
    open: i32,
}

/// A layer that looks for what console-subscriber looks for: spans of the name `runtime.spawn`, and events of the target
/// `runtime::waker`.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Seen>>);

struct Name(String);

impl Console {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    /// The tasklet's span of that name.
    fn task(&self, name: &str) -> Task {
        let seen = self.seen();
        let mut named = seen.tasks.values().filter(|task| task.fields.0.get("task.name").is_some_and(|is| is == name));
        let task = named.next().unwrap_or_else(|| panic!("no span of {name}: {:?}", seen.tasks)).clone();
        assert!(named.next().is_none(), "two spans of {name}");
        task
    }

    /// In which spans each event was, as "outer/inner".
    fn events(&self) -> Vec<(String, String)> {
        self.seen().events.iter().map(|(message, within)| (message.clone(), within.join("/"))).collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Console {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = if attributes.metadata().name() == "runtime.spawn" {
            assert!(attributes.is_root(), "it would keep another span open");
            let name = fields.0.get("task.name").or(fields.0.get("kind")).unwrap().clone();
            self.seen().tasks.insert(id.into_u64(), Task { fields, ..Task::default() });
            name
        } else {
            self.seen().open += 1;
            attributes.metadata().name().to_owned()
        };
        context.span(id).unwrap().extensions_mut().insert(Name(name));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if event.metadata().target() == "runtime::waker" {
            let mut seen = self.seen();
            let task = seen.tasks.get_mut(&fields.0["task.id"].parse().unwrap()).expect("a tasklet's span");
            assert!(!task.closed);
            match &*fields.0["op"] {
                "waker.clone" => task.wakers += 1,
                "waker.wake_by_ref" => task.wakes += 1,
                other => panic!("{other}"),
            }
            return;
        }
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let within = spans.map(|span| span.extensions().get::<Name>().unwrap().0.clone()).collect();
        self.seen().events.push((fields.0["message"].clone(), within));
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let (mut seen, here) = (self.seen(), thread::current().id());
        if !seen.tasks.contains_key(&id.into_u64()) {
            return;
        }
        for (other, task) in &seen.tasks {
            assert!(*other == id.into_u64() || !task.runs.contains(&here), "two tasklets run at once");
        }
        let task = seen.tasks.get_mut(&id.into_u64()).unwrap();
        task.polls += u32::from(task.runs.is_empty());
        task.runs.push(here);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        if let Some(task) = self.seen().tasks.get_mut(&id.into_u64()) {
            assert_eq!(task.runs.pop(), Some(thread::current().id()));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        self.seen().tasks.get_mut(&id.into_u64()).expect("a tasklet's span").comes_from = Some(follows.into_u64());
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut seen = self.seen();
        match seen.tasks.get_mut(&id.into_u64()) {
            Some(task) => {
                assert!(!task.closed && task.runs.is_empty());
                task.closed = true;
            }
            None => seen.open -= 1,
        }
    }
}

/// Runs `main` where this thread's subscriber is a [`Console`], which is returned. No span is open then, and none is entered.
fn traced(main: impl FnOnce()) -> Console {
    let console = Console::default();
    with_default(Registry::default().with(console.clone()), || {
        run(main);
        assert!(tracing::Span::current().is_none());
    });
    let seen = console.seen();
    assert_eq!(seen.open, 0);
    assert!(seen.tasks.values().all(|task| task.closed), "{:?}", seen.tasks);
    drop(seen);
    console
}

fn named<T: 'static>(name: &str, function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(function).unwrap()
}

#[test]
fn an_event_is_in_the_spans_of_its_tasklet_across_waits_of_every_kind() {
    const COUNT: usize = 12;
    let console = traced(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, channel) = (listener.local_addr().unwrap(), Channel::new());
        let echo = named("echo", move || {
            for stream in listener.incoming().take(COUNT) {
                let mut stream = stream.unwrap();
                spawn(move || {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    stream.write_all(&byte).unwrap();
                });
            }
        });
        let workers: Vec<_> = (0..COUNT)
            .map(|number| {
                let (name, channel) = (format!("worker {number}"), channel.clone());
                named(&name.clone(), move || {
                    info!("{name}: begins");
                    // A guard that is held across waits, and one within.
                    let _request = info_span!("request").entered();
                    yield_now();
                    info!("{name}: after a yield");
                    {
                        let _part = info_span!("part").entered();
                        sleep(Duration::from_micros(100 * (number as u64 % 4)));
                        info!("{name}: after a sleep");
                    }
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&[number as u8]).unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                    info!("{name}: after an echo");
                    if number % 2 == 0 {
                        channel.send(number).unwrap();
                    } else {
                        channel.receive().unwrap();
                    }
                    info!("{name}: after a channel");
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        echo.join().unwrap();
    });
    let events = console.events();
    assert_eq!(events.len(), 5 * COUNT);
    for (message, within) in events {
        let (worker, step) = message.split_once(": ").unwrap();
        let spans = match step {
            "begins" => "",
            "after a sleep" => "/request/part",
            _ => "/request",
        };
        assert_eq!(within, format!("{worker}{spans}"), "{message}");
    }
    let first = console.task("worker 0");
    assert!(first.polls > 3 && first.wakes == first.polls - 1 && first.wakers == 1, "{first:?}");
}

#[test]
fn the_spans_of_the_threads_own_tasklet_are_its_alone() {
    let console = traced(|| {
        let outer = info_span!("outer").entered();
        let worker = named("worker", || info!("in the worker"));
        let _inner = info_span!("inner").entered();
        let called = Event::new();
        let set = called.clone();
        call_soon(move || {
            info!("in a callback");
            set.set();
        });
        worker.join().unwrap();
        called.wait();
        info!("after a wait");
        drop(outer);
        yield_now();
        info!("after the end of another");
    });
    let expected = [
        ("in a callback", ""),
        ("in the worker", "worker"),
        ("after a wait", "main/outer/inner"),
        ("after the end of another", "main/outer/inner"),
    ];
    let events = console.events();
    for (message, within) in expected {
        assert!(events.contains(&(message.to_owned(), within.to_owned())), "{message}: {events:?}");
    }
}

#[test]
fn one_span_may_be_entered_by_several_tasklets_and_by_one_twice() {
    let console = traced(|| {
        let shared = Rc::new(info_span!(parent: None, "shared"));
        let workers = ["one", "two"].map(|name| {
            let shared = Rc::clone(&shared);
            named(name, move || {
                let own = tracing::Span::current();
                let _shared = shared.enter();
                yield_now();
                let again = own.enter();
                yield_now();
                info!("{name} twice");
                drop(again);
                yield_now();
                info!("{name} once");
            })
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let events = console.events();
    assert_eq!(events.iter().filter(|(_, within)| within == "shared").count(), 4, "{events:?}");
}

#[test]
fn a_tasklet_that_is_told_to_leave_or_panics_leaves_no_span_behind() {
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            sleep(Duration::from_millis(1));
            info!("cleaned up");
        }
    }
    let console = traced(|| {
        let waits = |name: &str| {
            named(name, || {
                let _request = info_span!("request").entered();
                let _waits = Waits;
                sleep(Duration::MAX);
            })
        };
        let cancelled = waits("cancelled");
        let never_begun = waits("never begun");
        never_begun.cancel();
        let panics = named("panics", || {
            let _request = info_span!("request").entered();
            let _waits = Waits;
            std::panic::resume_unwind(Box::new(()));
        });
        waits("left for the end of the run");
        assert!(timeout(Duration::from_millis(5), || sleep(Duration::MAX)).is_err());
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        assert!(never_begun.join().unwrap_err().is_cancelled());
        assert!(panics.join().unwrap_err().is_panic());
        info!("in the end");
    });
    let mut events = console.events();
    events.sort();
    let cleaned = ["cancelled", "left for the end of the run", "panics"];
    let mut expected = cleaned.map(|name| ("cleaned up".to_owned(), format!("{name}/request"))).to_vec();
    expected.push(("in the end".to_owned(), "main".to_owned()));
    assert_eq!(events, expected);
}

#[test]
fn a_span_says_what_a_console_shows() {
    let told = Cell::new((0, 0));
    let console = traced(|| {
        let _request = info_span!("request").entered();
        let event = Event::new();
        let theirs = event.clone();
        let line = line!() + 1;
        let waits = Builder::new().name("waits").stack_size(1 << 20).spawn(move || theirs.wait()).unwrap();
        yield_now();
        let listed = overlapped::tasklets().into_iter().find(|status| status.name.as_deref() == Some("waits"));
        told.set((line, listed.unwrap().number));
        event.set();
        waits.join().unwrap();
    });
    let task = console.task("waits");
    let (line, number) = told.get();
    let expected = [
        ("kind", "tasklet".to_owned()),
        ("task.id", number.to_string()),
        ("stack.bytes", (1 << 20).to_string()),
        ("loc.file", file!().to_owned()),
        ("loc.line", line.to_string()),
    ];
    for (field, value) in expected {
        assert_eq!(task.fields.0[field], value, "{field}");
    }
    assert!(task.fields.0["loc.col"].parse::<u32>().is_ok());
    assert_eq!((task.polls, task.wakes, task.wakers), (2, 1, 1));
    assert!(task.comes_from.is_some(), "the span that it was spawned in");
}

#[test]
fn a_tasklet_is_from_the_line_that_asks_for_it() {
    let console = traced(|| {
        spawn(|| ()).join().unwrap();
        spawn_anywhere(|| ()).join().unwrap();
        spawn_blocking(|| ()).join().unwrap();
        handle().spawn(|| ()).join().unwrap();
        shield(|| ());
        scope(|s| s.spawn(|| ()).join().unwrap());
        Group::run(|group| group.spawn(|| ()).join().unwrap());
        Group::try_run(|group| group.try_spawn(|| Ok::<_, ()>(0)).join().map_err(drop)).unwrap();
        Pool::run(1, |pool| pool.spawn(|| ()).join().unwrap());
        drop(overlapped::ecosystem::in_tasklet(|| ()));
    });
    let seen = console.seen();
    assert_eq!(seen.tasks.len(), 11);
    for task in seen.tasks.values() {
        let here = ["ecosystem_tracing.rs", "mod.rs"].iter().any(|file| task.fields.0["loc.file"].ends_with(file));
        assert!(here && !task.fields.0["loc.file"].contains("src"), "{task:?}");
    }
}

#[test]
fn tasklets_of_several_threads_have_spans_too() {
    let _watch = Watch::new();
    let console = Console::default();
    tracing::subscriber::set_global_default(Registry::default().with(console.clone())).unwrap();
    Config::new().schedulers(2).run(|| {
        let workers: Vec<_> = handles()
            .into_iter()
            .enumerate()
            .flat_map(|(thread, handle)| (0..5).map(move |number| (format!("{thread}-{number}"), handle.clone())))
            .map(|(name, handle)| {
                Builder::new().name(name.clone()).spawn_on(&handle, move || {
                    let _request = info_span!("request").entered();
                    for _ in 0..5 {
                        yield_now();
                        sleep(Duration::from_micros(10));
                        info!("{name}");
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let events = console.events();
    assert_eq!(events.len(), 50);
    for (name, within) in events {
        assert_eq!(within, format!("{name}/request"));
    }
    assert!(console.seen().tasks.values().all(|task| task.closed));
}
