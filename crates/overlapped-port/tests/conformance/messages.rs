//! Vectored operations, whose buffers are borrowed in two layers: lent for ever, taken back when all is over.
//!
//! Each layer is a box turned into a pointer; the owner frees them when it is dropped, which the driver does after the
//! final completion.

use std::io::{self, IoSlice, IoSliceMut};
use std::ptr::NonNull;

use overlapped_port::sys::{RawFile, RawSocket};
use overlapped_port::{Address, Op, RecvMessage, SendMessage};

use crate::driver::{CANARY, Driver, Flight, count};

/// A box that an operation may borrow without end, while this exists.
struct Lent<T: ?Sized>(NonNull<T>);

impl<T: ?Sized> Lent<T> {
    fn new(value: Box<T>) -> Lent<T> {
        Lent(NonNull::from(Box::leak(value)))
    }

    /// # Safety
    /// Neither outlives this `Lent`, and while it is used nothing else looks at the value.
    unsafe fn lend(&mut self) -> &'static mut T {
        // SAFETY: the pointer is that of a live box; the rest is the caller's promise.
        unsafe { self.0.as_mut() }
    }

    /// The value, once nobody borrows it any more.
    ///
    /// # Safety
    /// What [`lend`](Lent::lend) gave is not used any more.
    unsafe fn get(&self) -> &T {
        // SAFETY: the pointer is that of a live box; the rest is the caller's promise.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box, and this is its only owner.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The buffers of a vectored read or receive. Fields are dropped in this order, the borrower first.
pub(crate) struct Incoming {
    message: Option<RecvMessage<'static>>,
    slices: Lent<[IoSliceMut<'static>]>,
    parts: Vec<Lent<[u8]>>,
    control: Lent<[u64]>,
}

impl Incoming {
    fn new(sizes: &[usize], control: usize) -> Incoming {
        let mut parts: Vec<Lent<[u8]>> =
            sizes.iter().map(|size| Lent::new(vec![CANARY; *size].into_boxed_slice())).collect();
        // SAFETY: `slices` is dropped before `parts`, which are looked at when the operation is over.
        let slices = parts.iter_mut().map(|part| IoSliceMut::new(unsafe { part.lend() })).collect();
        let control = Lent::new(vec![0; control.div_ceil(8)].into_boxed_slice());
        Incoming { message: None, slices: Lent::new(slices), parts, control }
    }

    /// The bytes, by buffer, as far as they were filled. What lies behind them was not touched.
    fn filled(&self, mut bytes: usize) -> Vec<Vec<u8>> {
        let filled = self.parts.iter().map(|part| {
            // SAFETY: the operation is over.
            let part = unsafe { part.get() };
            let (filled, rest) = part.split_at(bytes.min(part.len()));
            bytes -= filled.len();
            assert!(rest.iter().all(|byte| *byte == CANARY), "bytes were written that are not reported");
            filled.to_vec()
        });
        filled.collect()
    }
}

/// A message received.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) address: Address,
    pub(crate) control: Vec<u8>,
    pub(crate) truncated: bool,
    pub(crate) control_truncated: bool,
}

impl Received {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.parts.concat()
    }
}

/// The buffers of a message to send. Fields are dropped in this order, the borrower first.
pub(crate) struct Outgoing {
    message: Lent<SendMessage<'static>>,
    slices: Lent<[IoSlice<'static>]>,
    _parts: Vec<Lent<[u8]>>,
    _address: Option<Lent<Address>>,
    _control: Lent<[u64]>,
}

impl Outgoing {
    /// `control` is padded with zeroes to a multiple of eight.
    fn new(parts: &[&[u8]], address: Option<&Address>, control: &[u8]) -> Outgoing {
        let mut parts: Vec<Lent<[u8]>> = parts.iter().map(|part| Lent::new(Box::from(*part))).collect();
        // SAFETY: here and below: the borrower is dropped before what it borrows, and nothing looks at them before.
        let slices = parts.iter_mut().map(|part| IoSlice::new(unsafe { part.lend() })).collect();
        let mut slices: Lent<[IoSlice<'static>]> = Lent::new(slices);
        let mut address = address.map(|address| Lent::new(Box::new(address.clone())));
        let words = control.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        let mut control = Lent::new(words.collect::<Box<[u64]>>());
        // SAFETY: as above.
        let mut message = SendMessage::new(unsafe { slices.lend() });
        if let Some(address) = &mut address {
            // SAFETY: as above.
            message = message.to(unsafe { address.lend() });
        }
        // SAFETY: as above.
        let room = unsafe { control.lend() };
        if !room.is_empty() {
            message = message.with_control(bytes_of(room));
        }
        Outgoing { message: Lent::new(Box::new(message)), slices, _parts: parts, _address: address, _control: control }
    }
}

fn bytes_of(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: the same initialised memory, and any byte is a valid part of a `u64`.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

impl Driver {
    pub(crate) fn begin_recv_message(
        &mut self,
        socket: RawSocket,
        sizes: &[usize],
        control: usize,
        flags: i32,
    ) -> Flight<Incoming> {
        let mut incoming = Incoming::new(sizes, control);
        // SAFETY: here and below: `Incoming` drops the borrower first, and looks at nothing before the final completion.
        let mut message = RecvMessage::new(unsafe { incoming.slices.lend() });
        if control > 0 {
            // SAFETY: as above.
            message = message.with_control(&mut bytes_of(unsafe { incoming.control.lend() })[..control]);
        }
        let message = Some(message);
        self.begin_with(Incoming { message, ..incoming }, |incoming| Op::RecvMessage {
            socket,
            message: incoming.message.as_mut().expect("it was just made").lend(),
            flags,
        })
    }

    #[track_caller]
    pub(crate) fn received_message(&mut self, flight: Flight<Incoming>) -> io::Result<Received> {
        let (result, incoming) = self.finish(flight);
        let bytes = result.map(count)?;
        let message = incoming.message.as_ref().expect("a message");
        Ok(Received {
            parts: incoming.filled(bytes),
            address: message.address().clone(),
            control: message.control().to_vec(),
            truncated: message.truncated(),
            control_truncated: message.control_truncated(),
        })
    }

    #[track_caller]
    pub(crate) fn recv_message(
        &mut self,
        socket: RawSocket,
        sizes: &[usize],
        control: usize,
        flags: i32,
    ) -> io::Result<Received> {
        let flight = self.begin_recv_message(socket, sizes, control, flags);
        self.received_message(flight)
    }

    pub(crate) fn begin_send_message(
        &mut self,
        socket: RawSocket,
        parts: &[&[u8]],
        address: Option<&Address>,
        control: &[u8],
    ) -> Flight<Outgoing> {
        let mut outgoing = Outgoing::new(parts, address, control);
        // SAFETY: `Outgoing` drops the borrower first, and looks at nothing before the final completion.
        let message = unsafe { outgoing.message.lend() };
        self.begin_with_lent(Op::SendMessage { socket, message, flags: 0 }, outgoing)
    }

    #[track_caller]
    pub(crate) fn send_message(
        &mut self,
        socket: RawSocket,
        parts: &[&[u8]],
        address: Option<&Address>,
        control: &[u8],
    ) -> io::Result<usize> {
        let flight = self.begin_send_message(socket, parts, address, control);
        self.counted(flight)
    }

    pub(crate) fn begin_read_vectored(
        &mut self,
        file: RawFile,
        sizes: &[usize],
        offset: Option<u64>,
    ) -> Flight<Incoming> {
        let mut incoming = Incoming::new(sizes, 0);
        // SAFETY: `Incoming` drops the borrower first, and looks at nothing before the final completion.
        let buffers = unsafe { incoming.slices.lend() };
        self.begin_with_lent(Op::ReadVectored { file, buffers, offset }, incoming)
    }

    #[track_caller]
    pub(crate) fn read_vectored(
        &mut self,
        file: RawFile,
        sizes: &[usize],
        offset: Option<u64>,
    ) -> io::Result<Vec<Vec<u8>>> {
        let flight = self.begin_read_vectored(file, sizes, offset);
        let (result, incoming) = self.finish(flight);
        result.map(|outcome| incoming.filled(count(outcome)))
    }

    pub(crate) fn begin_write_vectored(
        &mut self,
        file: RawFile,
        parts: &[&[u8]],
        offset: Option<u64>,
    ) -> Flight<Outgoing> {
        let mut outgoing = Outgoing::new(parts, None, &[]);
        // SAFETY: `Outgoing` lives until the final completion, and looks at nothing before.
        let buffers = unsafe { outgoing.slices.lend() };
        self.begin_with_lent(Op::WriteVectored { file, buffers, offset }, outgoing)
    }

    #[track_caller]
    pub(crate) fn write_vectored(&mut self, file: RawFile, parts: &[&[u8]], offset: Option<u64>) -> io::Result<usize> {
        let flight = self.begin_write_vectored(file, parts, offset);
        self.counted(flight)
    }
}
