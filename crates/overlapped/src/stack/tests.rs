use std::hint::black_box;
use std::process::{Command, Output};

use corosensei::stack::{STACK_ALIGNMENT, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::*;

const SIZE: usize = crate::DEFAULT_STACK_SIZE;

type Tasklet = Coroutine<(), (), usize, PooledStack>;

/// Runs this test alone in a child process, with `OVERLAPPED_STACK_TEST` set: there it is expected to end badly.
fn in_child(test: &str, case: &str) -> Output {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env("OVERLAPPED_STACK_TEST", case);
    child.output().unwrap()
}

/// Which case this process is to run, where it is such a child.
fn child_case() -> Option<String> {
    std::env::var("OVERLAPPED_STACK_TEST").ok()
}

#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if depth == 0 { 0 } else { 1 + recurse(depth - 1) + black_box(frame)[1] - depth }
}

fn named(name: &str, bounds: Bounds) -> Occupant {
    Occupant { bounds, name: Some(name.into()) }
}

/// Runs a tasklet of that name that calls itself `depth` times: half a KiB of stack each, and several in a debug build.
fn run_named(pool: &mut StackPool, name: &str, depth: usize) -> usize {
    let watch = OverflowWatch::new();
    let stack = pool.take(SIZE).unwrap();
    let occupant = named(name, stack.bounds());
    let mut tasklet = Tasklet::with_stack(stack, move |_: &Yielder<(), ()>, ()| recurse(depth));
    // SAFETY: it outlives the tasklet's run.
    unsafe { watch.set_current(&occupant) };
    let result = tasklet.resume(());
    watch.clear();
    pool.give(tasklet.into_stack());
    result.as_return().unwrap()
}

#[test]
fn the_stack_given_back_last_is_taken_first() {
    let mut pool = StackPool::new();
    let (first, second) = (pool.take(SIZE).unwrap(), pool.take(SIZE).unwrap());
    let (first_lies, second_lies) = (first.bounds(), second.bounds());
    assert_ne!(first_lies, second_lies);
    pool.give(first);
    pool.give(second);
    let taken = [pool.take(SIZE).unwrap(), pool.take(SIZE).unwrap(), pool.take(SIZE).unwrap()];
    assert_eq!(taken[0].bounds(), second_lies);
    assert_eq!(taken[1].bounds(), first_lies);
    assert!(taken[2].bounds().base < first_lies.limit || taken[2].bounds().limit >= first_lies.base);
}

#[test]
fn sizes_are_rounded_up_and_kept_apart() {
    let mut pool = StackPool::new();
    for (wanted, given) in [(0, MIN_STACK_SIZE), (65_537, 131_072), (300_000, 524_288), (8 << 20, 8 << 20)] {
        let stack = pool.take(wanted).unwrap();
        let bounds = stack.bounds();
        assert_eq!(bounds.size, given.max(sys::page_size()));
        assert!(bounds.base - bounds.limit >= bounds.size + if cfg!(unix) { 64 << 10 } else { sys::page_size() });
        assert_eq!(bounds.base, stack.base().get());
        assert_eq!(bounds.limit, stack.limit().get());
        assert_eq!((bounds.base % STACK_ALIGNMENT, bounds.limit % STACK_ALIGNMENT), (0, 0));
        pool.give(stack);
        assert_eq!(pool.take(given).unwrap().bounds(), bounds);
    }
    assert_eq!(pool.take(SIZE).unwrap().bounds().size, SIZE);
    let error = pool.take(usize::MAX).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let error = pool.take(1 << (usize::BITS - 3)).err().unwrap();
    assert!(error.to_string().contains("KiB for"), "{error}");
}

#[cfg(unix)]
#[test]
fn stacks_begin_all_over_the_upper_half_of_their_last_page() {
    let mut pool = StackPool::new();
    let stacks: Vec<PooledStack> = (0..64).map(|_| pool.take(SIZE).unwrap()).collect();
    let page = sys::page_size();
    let mut places: Vec<usize> =
        stacks.iter().map(|stack| stack.bounds().base.next_multiple_of(page) - stack.bounds().base).collect();
    assert!(places.iter().all(|place| place % 64 == 0 && *place < page / 2), "{places:?}");
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 32);
}

#[test]
fn coroutines_run_on_reused_stacks() {
    let mut pool = StackPool::new();
    for round in 0..100 {
        let mut tasklets: Vec<Tasklet> = (0..20)
            .map(|index| {
                Tasklet::with_stack(pool.take(SIZE).unwrap(), move |yielder: &Yielder<(), ()>, ()| {
                    let sum = recurse(index);
                    yielder.suspend(());
                    sum + round
                })
            })
            .collect();
        for tasklet in &mut tasklets {
            assert_eq!(tasklet.resume(()), CoroutineResult::Yield(()));
        }
        for (index, mut tasklet) in tasklets.into_iter().enumerate() {
            assert_eq!(tasklet.resume(()), CoroutineResult::Return(index + round));
            pool.give(tasklet.into_stack());
        }
    }
    assert_eq!(pool.classes[0].free.len(), 20);
}

#[test]
fn a_stack_outlives_its_pool() {
    let mut pool = StackPool::new();
    let stack = pool.take(SIZE).unwrap();
    drop(pool);
    let mut tasklet = Tasklet::with_stack(stack, |_: &Yielder<(), ()>, ()| recurse(100));
    assert_eq!(tasklet.resume(()), CoroutineResult::Return(100));
}

#[test]
fn a_panic_with_a_backtrace_fits_the_default_stack() {
    let mut pool = StackPool::new();
    let mut tasklet = Tasklet::with_stack(pool.take(SIZE).unwrap(), |_: &Yielder<(), ()>, ()| {
        let caught = std::panic::catch_unwind(|| {
            let backtrace = std::backtrace::Backtrace::force_capture();
            std::panic::panic_any(format!("{backtrace}"));
        });
        caught.unwrap_err().downcast::<String>().unwrap().len()
    });
    assert!(tasklet.resume(()).as_return().unwrap() > 0);
    let stack = tasklet.into_stack();
    #[cfg(unix)]
    println!("a panic with a backtrace touched {} KiB", resident(&stack) * sys::page_size() / 1024);
    pool.give(stack);
}

#[test]
fn an_overflow_names_the_tasklet() {
    if let Some(case) = child_case() {
        let mut pool = match case.as_str() {
            #[cfg(unix)]
            "mprotect" => StackPool::with_guards(Guards::Protected),
            #[cfg(unix)]
            "thread without a signal stack" => {
                // SAFETY: all zeroes is a `stack_t`; nothing runs on the signal stack now.
                unsafe {
                    let mut none: libc::stack_t = std::mem::zeroed();
                    none.ss_flags = libc::SS_DISABLE;
                    assert_eq!(libc::sigaltstack(&none, std::ptr::null_mut()), 0);
                }
                StackPool::new()
            }
            _ => StackPool::new(),
        };
        assert_eq!(run_named(&mut pool, "shallow", 16), 16);
        run_named(&mut pool, "recursive reader", 100_000);
        unreachable!("the stack did not overflow");
    }
    let unix = ["mprotect", "thread without a signal stack"];
    for case in ["default"].into_iter().chain(unix.into_iter().filter(|_| cfg!(unix))) {
        let output = in_child("an_overflow_names_the_tasklet", case);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let message = "overlapped: tasklet 'recursive reader' has overflowed its stack of 256 KiB; \
                       spawn it with a larger one (Builder::stack_size)\n";
        assert!(stderr.contains(message), "{case}: {stderr}");
        assert!(!output.status.success());
        #[cfg(unix)]
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(libc::SIGABRT), "{case}");
    }
}

/// As a C function does whose frame is larger than a page.
#[cfg(unix)]
#[test]
fn a_frame_that_begins_deep_in_the_guard_is_an_overflow_too() {
    use std::os::unix::process::ExitStatusExt;
    let guards = [("lightweight", Guards::detect()), ("mprotect", Guards::Protected)];
    if let Some(case) = child_case() {
        let (kind, depth) = case.split_once(' ').unwrap();
        let depth: usize = depth.parse().unwrap();
        let mut pool = StackPool::with_guards(guards.iter().find(|(name, _)| *name == kind).unwrap().1);
        // The stack below it is somebody's too.
        let _neighbour = pool.take(SIZE).unwrap();
        let stack = pool.take(SIZE).unwrap();
        let watch = OverflowWatch::new();
        let bounds = stack.bounds();
        let mut tasklet = Tasklet::with_stack(stack, move |_: &Yielder<(), ()>, ()| {
            let frame = (bounds.limit + sys::guard_size() - depth) as *mut usize;
            // SAFETY: there is none: the fault is what is tested.
            unsafe { black_box(frame).write_volatile(1) };
            depth
        });
        let occupant = named("calls into C", bounds);
        // SAFETY: it outlives the tasklet's run.
        unsafe { watch.set_current(&occupant) };
        tasklet.resume(());
        return;
    }
    for (kind, _) in guards {
        for depth in [8, 4096, 24 << 10, 64 << 10] {
            let output =
                in_child("a_frame_that_begins_deep_in_the_guard_is_an_overflow_too", &format!("{kind} {depth}"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("tasklet 'calls into C' has overflowed"), "{kind}, {depth} bytes: {stderr}");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{kind}, {depth} bytes");
        }
    }
}

#[test]
fn each_thread_has_its_own_watch() {
    let name_of = |thread: &str| {
        let watch = OverflowWatch::new();
        let bounds = Bounds { limit: 1 << 20, base: 3 << 20, size: 1 << 20 };
        let occupant = named(&format!("on {thread}"), bounds);
        // SAFETY: it stays until `clear`.
        unsafe { watch.set_current(&occupant) };
        let message = overflow::explain(|bounds| bounds.limit == 1 << 20).unwrap();
        let elsewhere = std::thread::spawn(|| overflow::explain(|_| true).is_none()).join().unwrap();
        watch.clear();
        let cleared = overflow::explain(|_| true).is_none();
        (String::from_utf8(message.as_bytes().to_vec()).unwrap(), elsewhere, cleared)
    };
    std::thread::scope(|scope| {
        for thread in ["a", "b", "c", "d"] {
            scope.spawn(move || {
                for _ in 0..50 {
                    let (message, elsewhere, cleared) = name_of(thread);
                    assert!(message.contains(&format!("tasklet 'on {thread}' has overflowed its stack of 1024 KiB")));
                    assert!(elsewhere && cleared);
                }
            });
        }
    });
    let occupant = named(&"n".repeat(1000), Bounds { limit: 1, base: usize::MAX, size: usize::MAX });
    let watch = OverflowWatch::new();
    // SAFETY: it stays until the watch is gone.
    unsafe { watch.set_current(&occupant) };
    let message = overflow::explain(|_| true).unwrap();
    assert!(message.as_bytes().ends_with(b"(Builder::stack_size)\n"), "a long name is cut, not the advice");
}

/// The lowest and highest usable byte, and their distance.
#[cfg(unix)]
fn usable(stack: &PooledStack) -> (*mut u8, *mut u8) {
    let Bounds { base, limit, .. } = stack.bounds();
    ((limit + sys::guard_size()) as *mut u8, (base - 1) as *mut u8)
}

/// How many pages of a stack are in memory.
#[cfg(unix)]
fn resident(stack: &PooledStack) -> usize {
    let (lowest, _) = usable(stack);
    let mut pages = vec![0_u8; stack.bounds().size / sys::page_size() + 1];
    let length = pages.len() * sys::page_size();
    // SAFETY: the range is mapped, and there is a byte for each of its pages.
    let result = unsafe { libc::mincore(lowest.cast(), length, pages.as_mut_ptr().cast()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

#[cfg(unix)]
#[test]
fn the_stacks_unused_for_longest_return_their_memory() {
    let mut pool = StackPool::new();
    let mut stacks: Vec<PooledStack> = (0..7).map(|_| pool.take(64 << 20).unwrap()).collect();
    for stack in &stacks {
        let (lowest, highest) = usable(stack);
        // SAFETY: both are usable bytes of a stack that nothing runs on.
        unsafe {
            lowest.write_volatile(1);
            highest.write_volatile(1);
        }
        assert!(resident(stack) >= 2);
    }
    stacks.drain(..).for_each(|stack| pool.give(stack));
    let class = &pool.classes[0];
    assert_eq!((class.warm, class.released), (4, 3));
    let in_memory: Vec<bool> = class.free.iter().map(|stack| resident(stack) > 0).collect();
    assert_eq!(in_memory, [false, false, false, true, true, true, true]);

    let taken: Vec<PooledStack> = (0..6).map(|_| pool.take(64 << 20).unwrap()).collect();
    assert_eq!(pool.classes[0].released, 1);
    for stack in taken {
        // SAFETY: a usable byte of a stack that nothing runs on.
        unsafe { usable(&stack).1.write_volatile(1) };
        pool.give(stack);
    }
    assert_eq!(pool.classes[0].released, 3);
}

#[cfg(unix)]
#[test]
fn faults_elsewhere_are_reported_as_before() {
    use std::os::unix::process::ExitStatusExt;
    match child_case().as_deref() {
        Some("wild pointer on a tasklet") => {
            let watch = OverflowWatch::new();
            let stack = StackPool::new().take(SIZE).unwrap();
            let occupant = named("wild", stack.bounds());
            let mut tasklet = Tasklet::with_stack(stack, |_: &Yielder<(), ()>, ()| {
                // SAFETY: there is none: the fault is what is tested.
                unsafe { black_box(0xdea_d000 as *const usize).read_volatile() }
            });
            // SAFETY: it outlives the tasklet's run.
            unsafe { watch.set_current(&occupant) };
            tasklet.resume(());
        }
        Some("overflow of the thread") => {
            let _watch = OverflowWatch::new();
            recurse(1 << 30);
        }
        Some("sent, with the default disposition") => {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
            let _watch = OverflowWatch::new();
            // SAFETY: raise(3) has no preconditions.
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        Some("sent, and ignored") => {
            // SAFETY: to ignore a signal runs no code of ours.
            unsafe { libc::signal(libc::SIGBUS, libc::SIG_IGN) };
            let _watch = OverflowWatch::new();
            // SAFETY: raise(3) has no preconditions.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        Some("a handler of before") => {
            extern "C" fn handler(_: libc::c_int) {
                // SAFETY: _exit(2) may be called from a handler.
                unsafe { libc::_exit(42) };
            }
            // SAFETY: the handler takes one argument, as signal(2) wants it.
            unsafe { libc::signal(libc::SIGSEGV, handler as *const () as usize) };
            let _watch = OverflowWatch::new();
            // SAFETY: there is none: the fault is what is tested.
            unsafe { black_box(0xdea_d000 as *const usize).read_volatile() };
        }
        _ => {
            let cases = [
                ("wild pointer on a tasklet", Some(libc::SIGSEGV), None, ""),
                ("overflow of the thread", Some(libc::SIGABRT), None, "has overflowed its stack\nfatal runtime error"),
                ("sent, with the default disposition", Some(libc::SIGSEGV), None, ""),
                ("sent, and ignored", None, Some(0), ""),
                ("a handler of before", None, Some(42), ""),
            ];
            for (case, signal, code, stderr) in cases {
                let output = in_child("faults_elsewhere_are_reported_as_before", case);
                let text = String::from_utf8_lossy(&output.stderr);
                assert_eq!((output.status.signal(), output.status.code()), (signal, code), "{case}: {text}");
                assert!(text.contains(stderr) && !text.contains("overlapped: tasklet"), "{case}: {text}");
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod mappings {
    use super::*;
    use std::fs;
    use std::sync::{Mutex, PoisonError};

    /// Mappings are counted for the whole process: one such test at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    fn mappings() -> usize {
        fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }

    /// A figure of /proc/self/status, in bytes.
    fn status(field: &str) -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn a_hundred_thousand_idle_tasklets_need_a_page_each_and_few_mappings() {
        const COUNT: usize = 100_000;
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        if Guards::detect() == Guards::Protected {
            println!("not on this kernel: {}", guards());
            return;
        }
        let mut pool = StackPool::new();
        let mut tasklets: Vec<Tasklet> = Vec::with_capacity(COUNT);
        let (resident, tables) = (status("VmRSS"), status("VmPTE"));
        for index in 0..COUNT {
            let mut tasklet = Tasklet::with_stack(pool.take(SIZE).unwrap(), move |yielder: &Yielder<(), ()>, ()| {
                yielder.suspend(());
                index
            });
            assert_eq!(tasklet.resume(()), CoroutineResult::Yield(()));
            tasklets.push(tasklet);
        }
        let (resident, tables) = (status("VmRSS") - resident, status("VmPTE") - tables);
        println!(
            "an idle tasklet: {} bytes resident, {} of page tables; {} mappings",
            resident / COUNT,
            tables / COUNT,
            mappings()
        );
        assert!(mappings() < 2000, "{} mappings", mappings());
        assert!(resident / COUNT < 9 * 1024, "{} bytes resident for each", resident / COUNT);
        for (index, mut tasklet) in tasklets.into_iter().enumerate() {
            assert_eq!(tasklet.resume(()), CoroutineResult::Return(index));
            pool.give(tasklet.into_stack());
        }
        drop(pool);
        assert!(mappings() < 2000);
    }

    #[test]
    fn protected_guards_split_mappings_and_stop_before_the_kernel_does() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mappings();
        let mut pool = StackPool::with_guards(Guards::Protected);
        let stacks: Vec<PooledStack> = (0..500).map(|_| pool.take(SIZE).unwrap()).collect();
        let split = mappings() - before;
        assert!((900..1200).contains(&split), "{split} mappings for 500 stacks");
        for stack in &stacks {
            let (lowest, highest) = usable(stack);
            // SAFETY: both are usable bytes of a stack that nothing runs on.
            unsafe {
                lowest.write_volatile(1);
                highest.write_volatile(1);
            }
        }

        let spare = sys::fill_mappings(2);
        let last = pool.take(SIZE).unwrap();
        let error = pool.take(SIZE).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        drop(spare);
        let more = pool.take(SIZE).unwrap();

        drop((stacks, last, more, pool));
        assert!(mappings() < before + 50, "{} mappings, {before} before", mappings());
    }
}
