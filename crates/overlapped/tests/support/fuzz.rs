//! Fuzzing in a bounded loop, on stable Rust: inputs that are made of valid ones by what goes wrong on a wire.
//!
//! The inputs are the same ones each time, so that a change is not blamed for what another draw finds. Other ones begin with
//! `OVERLAPPED_SEED=number`, and `OVERLAPPED_ROUNDS=number` makes so many rounds; `make fuzz` runs the tests in modules named
//! `fuzz` for minutes, with new ones each time. Rejected: cargo-fuzz, whose coverage needs a nightly compiler; here inputs get far
//! because they begin as valid ones.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;

/// Tells the seed, and the input, of the round that panics.
struct Round<'a> {
    seed: u64,
    input: Option<&'a [u8]>,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(input) = self.input {
                eprintln!("the input: b\"{}\"", input.escape_ascii());
            }
            eprintln!("OVERLAPPED_SEED={}", self.seed);
        }
    }
}

/// Calls `round` so many times, each with a seed of its own; the one that panics is named.
pub(crate) fn rounds(count: u64, round: impl FnMut(&mut Rng)) {
    rounds_from(0, count, round);
}

/// As [`rounds`], for what is another one each time.
pub(crate) fn random_rounds(count: u64, round: impl FnMut(&mut Rng)) {
    rounds_from(fastrand::u64(..1 << 32), count, round);
}

fn rounds_from(first: u64, count: u64, mut round: impl FnMut(&mut Rng)) {
    seeds(first, count, |seed| {
        let _named = Round { seed, input: None };
        round(&mut Rng::with_seed(seed));
    });
}

/// As [`rounds`], with an input that is made of these. One that fails is made as short and plain as it still fails.
pub(crate) fn inputs(count: u64, valid: &[Vec<u8>], mut check: impl FnMut(&mut Rng, &[u8])) {
    seeds(0, count, |seed| {
        let mut random = Rng::with_seed(seed);
        let input = input(&mut random, valid);
        let mut fails =
            |input: &[u8]| panic::catch_unwind(AssertUnwindSafe(|| check(&mut random.clone(), input))).is_err();
        if fails(&input) {
            let least = quietly(|| shortest(input, fails));
            let _named = Round { seed, input: Some(&least) };
            check(&mut random, &least);
            panic!("it has failed, and fails no more");
        }
    });
}

/// The shortest input found that still fails: bytes are left out, many at a time first, and others become `0`.
pub(crate) fn shortest(mut input: Vec<u8>, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    // Puts something else in a place, if the input fails all the same.
    let mut put = |input: &mut Vec<u8>, place: Range<usize>, other: &[u8]| {
        let candidate = [&input[..place.start], other, &input[place.end..]].concat();
        let fails_too = candidate != *input && fails(&candidate);
        if fails_too {
            *input = candidate;
        }
        fails_too
    };
    let mut size = input.len();
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = input.len().min(at + size);
            if !put(&mut input, at..end, b"") {
                at = end;
            }
        }
        size /= 2;
    }
    for at in 0..input.len() {
        put(&mut input, at..at + 1, b"0");
    }
    input
}

/// Does something whose panics on this thread nobody is told of.
fn quietly<R>(done: impl FnOnce() -> R) -> R {
    static HOOK: Mutex<()> = Mutex::new(());
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let (told, here) = (Arc::new(panic::take_hook()), std::thread::current().id());
    let others = Arc::clone(&told);
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != here {
            others(info);
        }
    }));
    let result = done();
    panic::set_hook(Box::new(move |info| told(info)));
    result
}

fn seeds(first: u64, count: u64, round: impl FnMut(u64)) {
    let count = number("OVERLAPPED_ROUNDS").unwrap_or(count);
    let first = number("OVERLAPPED_SEED").unwrap_or(first);
    (first..first + count).for_each(round);
}

fn number(variable: &str) -> Option<u64> {
    let told = std::env::var(variable).ok()?;
    Some(told.parse().unwrap_or_else(|_| panic!("{variable} is {told:?}, and no number")))
}

/// One of the valid ones or several after one another, unharmed or damaged in some places.
fn input(random: &mut Rng, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = one_of(random, valid).clone();
    while random.u8(..3) == 0 {
        bytes.extend_from_slice(one_of::<Vec<u8>>(random, valid));
    }
    for _ in 0..*one_of(random, &[0, 1, 1, 2, 3, 8]) {
        damage(random, &mut bytes, valid);
    }
    bytes
}

fn damage(random: &mut Rng, bytes: &mut Vec<u8>, valid: &[Vec<u8>]) {
    let from = random.usize(..=bytes.len());
    let to = random.usize(from..=bytes.len().min(from + 20));
    match random.u8(..9) {
        0 => bytes.truncate(from),
        1 => drop(bytes.drain(from..to)),
        2 => {
            let noise: Vec<u8> = (0..random.usize(..6)).map(|_| random.u8(..)).collect();
            drop(bytes.splice(from..to, noise));
        }
        3 => {
            let other = one_of(random, valid);
            let begin = random.usize(..=other.len());
            drop(bytes.splice(from..to, other[begin..random.usize(begin..=other.len())].iter().copied()));
        }
        4 => {
            let again = bytes[from..to].repeat(random.usize(1..4));
            drop(bytes.splice(from..from, again));
        }
        5 => {
            let digits = *one_of(random, &["0", "00", "-1", "+1", "9", "4294967296", "18446744073709551616"]);
            drop(bytes.splice(from..to, digits.bytes()));
        }
        6 => border(random, bytes, from),
        _ if from < bytes.len() => match random.bool() {
            true => bytes[from] ^= 1 << random.u8(..8),
            false => bytes[from] = *one_of(random, &[0, 1, 0x7f, 0x80, 0xff, b'\r', b'\n', b':', b' ']),
        },
        _ => {}
    }
}

/// Puts a number there that a length field might have: one of those about what follows, or at a border of its size.
fn border(random: &mut Rng, bytes: &mut [u8], at: usize) {
    let width = *one_of(random, &[1, 2, 4, 8]);
    let Some(field) = bytes.len().checked_sub(at + width) else { return };
    let about = [
        0,
        1,
        field as u64,
        (field as u64).wrapping_sub(1),
        field as u64 + 1,
        1 << 20,
        1 << 31,
        u64::MAX >> 1,
        u64::MAX,
    ];
    let number = *one_of(random, &about);
    let number =
        if random.bool() { number.to_be_bytes()[8 - width..].to_vec() } else { number.to_le_bytes()[..width].to_vec() };
    bytes[at..at + width].copy_from_slice(&number);
}

pub(crate) fn one_of<'a, T>(random: &mut Rng, these: &'a [T]) -> &'a T {
    &these[random.usize(..these.len())]
}

/// Cuts an input at random places.
pub(crate) fn pieces<'a>(random: &mut Rng, mut input: &'a [u8]) -> Vec<&'a [u8]> {
    let most = *one_of(random, &[1, 2, 7, 100, 10_000]);
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at(random.usize(1..=most.min(input.len())));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Holds the messages of a wire to what [`check_messages`] says, by inputs that are made of these; and a length beyond `limit`
/// is not waited for.
pub(crate) fn check_wire<M: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    valid: &[M],
    limit: usize,
    decode: impl Fn(&[u8]) -> Result<Option<(M, usize)>, E>,
    encode: impl Fn(&M) -> Vec<u8>,
) {
    let valid: Vec<_> = valid.iter().map(&encode).collect();
    let mut taken = 0;
    inputs(20_000, &valid, |random, input| {
        taken += check_messages(random, input, &decode, &encode);
        if let Some(length) = input.first_chunk().filter(|length| u32::from_be_bytes(**length) as usize > limit) {
            assert!(decode(length).is_err(), "what is too long is not waited for");
        }
    });
    println!("{taken} messages");
}

/// Holds a decoder of messages to its promises: what it takes is there, and is written the same; a part of what it takes is no
/// message; and the messages of an input are the same, and end in the same way, whatever pieces it comes in.
///
/// `decode` takes the first message with its length, `None` where more has to come; `encode` is the way back.
fn check_messages<M: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    random: &mut Rng,
    input: &[u8],
    decode: impl Fn(&[u8]) -> Result<Option<(M, usize)>, E>,
    encode: impl Fn(&M) -> Vec<u8>,
) -> usize {
    let all = |bytes: &[u8]| {
        let (mut at, mut messages) = (0, Vec::new());
        loop {
            match decode(&bytes[at..]) {
                Ok(Some((message, took))) => {
                    assert!(0 < took && at + took <= bytes.len(), "it takes {took} of {} bytes", bytes.len() - at);
                    messages.push(message);
                    at += took;
                }
                Ok(None) => return (messages, at, false),
                Err(_) => return (messages, at, true),
            }
        }
    };
    let (messages, end, is_wrong) = all(input);
    let written: Vec<u8> = messages.iter().flat_map(&encode).collect();
    assert!(written == input[..end], "what is taken is written the same");
    if let Some(first) = messages.first().map(|message| encode(message).len()) {
        let cut = random.usize(..first);
        assert!(
            matches!(decode(&input[..cut]), Ok(None)),
            "a part of {first} bytes, cut at {cut}, is a message or wrong"
        );
    }
    let (mut unread, mut found, mut was_wrong) = (Vec::new(), Vec::new(), false);
    for piece in pieces(random, input) {
        unread.extend_from_slice(piece);
        let (more, took, wrong) = all(&unread);
        found.extend(more);
        unread.drain(..took);
        was_wrong = wrong;
        if wrong {
            break;
        }
    }
    assert_eq!((&found, was_wrong), (&messages, is_wrong), "in pieces and as a whole");
    messages.len()
}
