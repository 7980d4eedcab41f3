//! The costs of Overlapped's groups, of waiting for the first of two events, and of a condition.

use overlapped::{Condition, Event, Group, Lock, first_of, run, spawn};
use overlapped_benches::{FIRSTS, Laps, MEMBERS, TURNS, print_structure};

fn group() -> Laps {
    let mut laps = Laps::of(MEMBERS);
    while laps.more() {
        Group::run(|group| {
            for n in 0..MEMBERS {
                group.spawn(move || n);
            }
        });
    }
    laps
}

fn first() -> Laps {
    let mut laps = Laps::of(FIRSTS);
    while laps.more() {
        let events = || [Event::new(), Event::new(), Event::new()];
        let all: Vec<_> = (0..FIRSTS).map(|_| events()).collect();
        let theirs = all.clone();
        let other = spawn(move || {
            for (n, [begun, a, b]) in theirs.iter().enumerate() {
                begun.wait();
                [a, b][n % 2].set();
            }
        });
        for (n, [begun, a, b]) in all.iter().enumerate() {
            begun.set();
            assert_eq!(first_of(&mut [&mut a.waiting(), &mut b.waiting()]).unwrap(), n % 2);
        }
        other.join().unwrap();
    }
    laps
}

fn condition() -> Laps {
    fn turns(whose: &Lock<u32>, changed: &Condition, mine: u32) {
        let mut whose = whose.acquire();
        for _ in 0..TURNS / 2 {
            whose = changed.wait_while(whose, |whose| *whose != mine);
            *whose = 1 - mine;
            changed.notify_one();
        }
    }
    let mut laps = Laps::of(TURNS);
    while laps.more() {
        let (whose, changed) = (Lock::new(0), Condition::new());
        let (theirs, told) = (whose.clone(), changed.clone());
        let other = spawn(move || turns(&theirs, &told, 1));
        turns(&whose, &changed, 0);
        other.join().unwrap();
    }
    laps
}

fn main() {
    let (group, first, condition) = run(|| (group(), first(), condition()));
    print_structure(group, first, condition);
}
