//! Who fills a worker's place: when that has died, and when it asks for another one in its place.
//!
//! Of a dead worker the next is there at once, so that a listing shows it before it is ready; of one that asks, when the
//! next is ready: until then it serves on. In both cases the delay grows with those that were of no use, so that a program
//! that asks as soon as it serves does not fill the machine with its starts.

use std::io;
use std::rc::Rc;

use super::member::Member;
use super::shared::{Place, Shared};
use crate::select::{after, first_of};
use crate::sync::{Permit, Semaphore};
use crate::tasklet::Builder;
use crate::workers::delay::Delay;

/// Fills a place from now on, until the server stops or nobody is to fill it.
pub(super) fn keep(shared: &Rc<Shared>, place: &Rc<Place>) -> io::Result<()> {
    let (shared, theirs) = (Rc::clone(shared), Rc::clone(place));
    // Told to leave, it is over.
    let keeper =
        Builder::new().name(format!("keep worker {}", place.number)).spawn(move || drop(fill(&shared, &theirs)));
    place.has_keeper(keeper?);
    Ok(())
}

pub(super) fn turn(semaphore: &Semaphore) -> io::Result<Permit> {
    let mut acquiring = semaphore.acquiring();
    first_of(&mut [&mut acquiring])?;
    Ok(acquiring.take().expect("it was the first"))
}

fn fill(shared: &Rc<Shared>, place: &Place) -> io::Result<()> {
    loop {
        let member = place.member();
        let (mut stops, mut superseded) = (shared.stopping.waiting(), member.superseded.waiting());
        let (mut ended, mut retires) = (member.ended.waiting(), member.retires.waiting());
        match first_of(&mut [&mut stops, &mut superseded, &mut ended, &mut retires])? {
            0 => return Ok(()),
            1 => continue,
            _ => {}
        }
        // It was of use once: where the next one cannot be started, this one is looked at again.
        let ready_for = member.ready_since.take().map(|since| since.elapsed());
        let mut rest = after(place.delay.borrow_mut().after(Delay::has_served(ready_for)));
        if first_of(&mut [&mut shared.stopping.waiting(), &mut rest])? == 0 {
            return Ok(());
        }
        let _turn = turn(&place.turn)?;
        if member.superseded.is_set() || shared.stopping.is_set() {
            continue;
        }
        if let Err(error) = replace(shared, place, &member) {
            *place.last_end.borrow_mut() = Some(error.to_string());
        }
    }
}

/// Starts the next worker after `member`, and waits until it is ready.
fn replace(shared: &Rc<Shared>, place: &Place, member: &Rc<Member>) -> io::Result<()> {
    let command = shared.command(place.number);
    let fresh = shared.launch(place.number, command).map_err(|error| {
        let why = format!("it does not start: {}", crate::attempted(&error));
        io::Error::new(error.kind(), why)
    })?;
    if member.ended.is_set() {
        place.put(Rc::clone(&fresh));
        return fresh.await_ready(shared.limits.ready);
    }
    fresh.await_ready(shared.limits.ready)?;
    place.put(fresh);
    let (shared, member) = (Rc::clone(shared), Rc::clone(member));
    crate::spawn(move || member.drain(&shared, true, shared.limits.drain));
    Ok(())
}
