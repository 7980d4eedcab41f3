//! Where everything comes from that a simulation does not decide by rule.
//!
//! A decision is a number below a bound, and 0 is always the plain one: no fault, no delay, the first of those that wait. So a
//! list of decisions replays a run, one that is cut short goes on plainly, and one in which numbers were made smaller is
//! nearer to a plain run: what a search for the shortest list that still fails needs to know ([`Decisions`]).
//!
//! The numbers are those of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), written
//! here: a seed that found something must find it again after each update of a library.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::str::FromStr;

/// The decisions of one run.
pub(crate) struct Chance {
    /// SplitMix64's.
    state: Cell<u64>,
    /// Whether nothing is given and nobody wants to know afterwards: numbers are drawn, and that is all.
    is_drawn: Cell<bool>,
    course: RefCell<Course>,
    hash: Cell<u64>,
}

/// What was decided, and what will be.
#[derive(Default)]
struct Course {
    /// What is decided beforehand.
    given: Vec<u32>,
    /// Past what is given, whether everything is plain.
    is_plain: bool,
    /// How many were taken.
    count: usize,
    /// Those, where they are kept.
    taken: Option<Vec<u32>>,
    /// The bounds below which they were, 1 for what a program has drawn; where somebody wants to know.
    bounds: Option<Vec<u32>>,
}

impl Course {
    fn decide(&mut self, bound: u32, has_plain: bool, draw: impl FnOnce() -> u32) -> u32 {
        let decision = match self.given.get(self.count) {
            Some(given) => (*given).min(bound.saturating_sub(1)),
            None if self.is_plain && has_plain => 0,
            None => draw(),
        };
        self.count += 1;
        if let Some(taken) = &mut self.taken {
            taken.push(decision);
        }
        if let Some(bounds) = &mut self.bounds {
            bounds.push(if has_plain { bound } else { 1 });
        }
        decision
    }
}

impl Chance {
    pub(crate) fn new(origin: &Origin) -> Chance {
        let course = Course { taken: Some(Vec::new()), ..Course::default() };
        let (state, is_drawn, hash) = Default::default();
        let chance = Chance { state, is_drawn, course: RefCell::new(course), hash };
        chance.begin_anew(origin);
        chance
    }

    /// Keeps a record of what it decides from now on, or none.
    pub(crate) fn keep(&self, keeps: bool) {
        self.course.borrow_mut().taken = keeps.then(Vec::new);
        self.look_at_course();
    }

    pub(crate) fn begin_anew(&self, origin: &Origin) {
        let mut course = self.course.borrow_mut();
        let Course { given, taken, bounds, .. } = &mut *course;
        given.clear();
        taken.iter_mut().chain(bounds).for_each(Vec::clear);
        course.count = 0;
        match origin {
            Origin::Seed(seed) => self.state.set(*seed),
            Origin::Decisions(Decisions(decisions)) => {
                self.state.set(0);
                course.given.extend(decisions);
            }
        }
        course.is_plain = matches!(origin, Origin::Decisions(_));
        self.hash.set(0xcbf2_9ce4_8422_2325);
        drop(course);
        self.look_at_course();
    }

    fn look_at_course(&self) {
        let Course { is_plain, taken, bounds, .. } = &*self.course.borrow();
        self.is_drawn.set(!is_plain && taken.is_none() && bounds.is_none());
    }

    #[inline]
    fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[inline]
    fn decide(&self, bound: u32, has_plain: bool, draw: impl Fn(u64) -> u32) -> u32 {
        if self.is_drawn.get() { draw(self.next()) } else { self.decide_on_course(bound, has_plain, draw) }
    }

    #[inline(never)]
    fn decide_on_course(&self, bound: u32, has_plain: bool, draw: impl Fn(u64) -> u32) -> u32 {
        self.course.borrow_mut().decide(bound, has_plain, || draw(self.next()))
    }

    /// A number below `bound`; 0 is the plain one.
    #[inline]
    pub(crate) fn below(&self, bound: usize) -> usize {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        if bound < 2 {
            return 0;
        }
        self.decide(bound, true, |random| scale(random, bound)) as usize
    }

    /// The same for a program, to which no number is plainer than another: one that loops until it draws another number than 0
    /// would not end.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only a world asks"))]
    pub(crate) fn draw(&self, bound: usize) -> usize {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        if bound < 2 { 0 } else { self.decide(bound, false, |random| scale(random, bound)) as usize }
    }

    /// Whether something happens that happens once in `times`, and never where that is 0; not to happen is the plain way.
    #[inline]
    pub(crate) fn once_in(&self, times: u32) -> bool {
        times > 0 && self.decide(2, true, |random| u32::from(scale(random, times) == 0)) == 1
    }

    /// Takes note of something that was seen: it goes into the hash.
    pub(crate) fn note(&self, seen: u64) {
        self.hash.set((self.hash.get() ^ seen).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23));
    }

    /// What everything that was seen comes to: two runs in which the same happened have the same.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only a world asks"))]
    pub(crate) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Keeps the bounds of what is decided from now on, besides.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only a world asks"))]
    pub(crate) fn keep_bounds(&self) {
        self.course.borrow_mut().bounds.get_or_insert_default();
        self.look_at_course();
    }

    /// How many ways each decision so far could have gone; nothing where that is not kept.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only a world asks"))]
    pub(crate) fn bounds(&self) -> Vec<u32> {
        self.course.borrow().bounds.clone().unwrap_or_default()
    }

    /// The decisions so far.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only a world asks"))]
    pub(crate) fn decisions(&self) -> Decisions {
        Decisions(self.course.borrow().taken.clone().unwrap_or_default())
    }
}

/// A number below `bound` of a random one.
fn scale(random: u64, bound: u32) -> u32 {
    (((random >> 32) * u64::from(bound)) >> 32) as u32
}

/// What a simulation is to be begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A seed.
    Seed(u64),
    /// The decisions of an earlier run, or a part of them: what comes after them is plain.
    Decisions(Decisions),
}

impl From<u64> for Origin {
    fn from(seed: u64) -> Origin {
        Origin::Seed(seed)
    }
}

impl From<Decisions> for Origin {
    fn from(decisions: Decisions) -> Origin {
        Origin::Decisions(decisions)
    }
}

impl FromStr for Origin {
    type Err = io::Error;

    /// From a seed in decimal numbers, or from [`Decisions`] in their written form.
    fn from_str(text: &str) -> io::Result<Origin> {
        if let Ok(seed) = text.parse() {
            return Ok(Origin::Seed(seed));
        }
        text.parse().map(Origin::Decisions)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Seed(seed) => write!(f, "seed {seed}"),
            Origin::Decisions(decisions) => write!(f, "OVERLAPPED_SIM={decisions}"),
        }
    }
}

impl Default for Origin {
    fn default() -> Origin {
        Origin::Seed(0)
    }
}

/// What `OVERLAPPED_SIM` says: a seed, or the decisions of an earlier run; `None` where it is not set.
///
/// # Errors
/// `InvalidInput` where it is neither.
pub fn from_environment() -> io::Result<Option<Origin>> {
    let Some(text) = std::env::var_os("OVERLAPPED_SIM").filter(|text| !text.is_empty()) else { return Ok(None) };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("OVERLAPPED_SIM: {error}"));
    text.to_string_lossy().parse().map(Some).map_err(named)
}

/// The decisions that a simulation has taken, in order: what replays it. Written, they are `d` and numbers with commas, a run
/// of equal ones as `number*times`: `d0*14,3,1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions(pub Vec<u32>);

impl fmt::Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("d")?;
        for (place, equal) in self.0.chunk_by(|one, other| one == other).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{}", equal[0])?;
            if equal.len() > 1 {
                write!(f, "*{}", equal.len())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Decisions {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Decisions> {
        /// More than any run that somebody waits for takes.
        const MOST: usize = 1 << 28;
        let wrong = || {
            let message = format!("{text:?} is neither a seed (a number) nor decisions (such as d0*14,3,1)");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let mut decisions = Vec::new();
        let parts = text.strip_prefix('d').ok_or_else(wrong)?;
        for part in parts.split(',').filter(|part| !part.is_empty()) {
            let (number, times) = part.split_once('*').unwrap_or((part, "1"));
            let (number, times): (u32, usize) =
                (number.parse().map_err(|_| wrong())?, times.parse().map_err(|_| wrong())?);
            if times > MOST - decisions.len() {
                return Err(wrong());
            }
            decisions.extend(std::iter::repeat_n(number, times));
        }
        Ok(Decisions(decisions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_same_each_time_and_its_decisions_replay_it() {
        let draw = |chance: &Chance| -> Vec<usize> {
            (1..200).map(|bound| if bound % 3 == 0 { chance.once_in(3).into() } else { chance.below(bound) }).collect()
        };
        let first = Chance::new(&Origin::Seed(7));
        let drawn = draw(&first);
        assert_eq!(draw(&Chance::new(&Origin::Seed(7))), drawn);
        assert_ne!(draw(&Chance::new(&Origin::Seed(8))), drawn);
        let written = first.decisions().to_string();
        assert_eq!(draw(&Chance::new(&written.parse().unwrap())), drawn);
        assert!(drawn.iter().any(|number| *number > 90), "all of a range comes: {drawn:?}");
        let forgets = Chance::new(&Origin::Seed(7));
        forgets.keep(false);
        assert_eq!((draw(&forgets), forgets.decisions()), (drawn, Decisions::default()));
    }

    #[test]
    fn past_the_decisions_everything_is_plain() {
        let chance = Chance::new(&"d1,5*2".parse().unwrap());
        assert!(chance.once_in(1000));
        assert_eq!([chance.below(9), chance.below(4), chance.below(9)], [5, 3, 0], "what is too much is cut");
        assert!(!chance.once_in(2));
    }

    #[test]
    fn what_is_no_origin_says_so() {
        for text in ["", "x", "d1,x", "d1*99999999999", "-1", "d3*"] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.to_string().contains("neither a seed"), "{text}: {error}");
        }
        assert_eq!("17".parse::<Origin>().unwrap(), Origin::Seed(17));
        assert_eq!("d".parse::<Origin>().unwrap(), Origin::Decisions(Decisions::default()));
    }
}
