//! Files, pipes and devices.
//!
//! An overlapped handle has no position that the system would use, but it has the field: SetFilePointerEx sets it and
//! tells it. So an operation "at the file's own position" begins at that number and moves it on when it has ended, one
//! such operation after the other, and a caller can seek with the system's own call.

use std::io;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::Storage::FileSystem::*;
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};

use super::error::{self, Ending};
use super::handles::Facts;
use super::request::Request;
use super::{Call, Core, Next, pipe};
use crate::backend::Started;
use crate::op::{Function, Op};
use crate::sys::{OpenHow, RawFile, SystemPath};

/// The most bytes of one call: its length is 32 bits wide.
const LONGEST: usize = 1 << 30;

/// The most bytes that a vectored write gathers into one call; where more are given, it is short.
const GATHERED: usize = 1 << 20;

/// A read or a write as the system's call takes it.
#[derive(Clone, Copy)]
struct Transfer {
    file: RawFile,
    start: *mut u8,
    length: usize,
    offset: Option<u64>,
    reads: bool,
}

impl Transfer {
    /// The next call of an operation of which `moved` bytes are done. What a vectored write has in several pieces is
    /// put into `gathered`; a vectored read takes one piece a call.
    fn next(op: &mut Op<'_>, moved: usize, gathered: &mut Vec<u8>) -> Transfer {
        let (file, (start, length), offset, reads) = match op {
            Op::Read { file, buffer, offset } => {
                let rest = &mut buffer[moved..];
                (*file, (rest.as_mut_ptr().cast(), rest.len()), *offset, true)
            }
            Op::ReadVectored { file, buffers, offset } => {
                let mut skip = moved;
                let piece = buffers.iter_mut().find_map(|buffer| {
                    let from = skip.min(buffer.len());
                    skip -= from;
                    let rest = &mut buffer[from..];
                    (!rest.is_empty()).then_some((rest.as_mut_ptr(), rest.len()))
                });
                (*file, piece.unwrap_or((ptr::null_mut(), 0)), *offset, true)
            }
            Op::Write { file, buffer, offset } => {
                let rest = &buffer[moved..];
                (*file, (rest.as_ptr().cast_mut(), rest.len()), *offset, false)
            }
            Op::WriteVectored { file, buffers, offset } => {
                let mut filled = buffers.iter().filter(|buffer| !buffer.is_empty());
                let piece = match (filled.next(), filled.next()) {
                    (None, _) => (ptr::null_mut(), 0),
                    (Some(only), None) => (only.as_ptr().cast_mut(), only.len()),
                    (Some(first), Some(_)) if first.len() >= GATHERED => (first.as_ptr().cast_mut(), first.len()),
                    _ => {
                        gathered.clear();
                        for buffer in buffers.iter() {
                            let room = GATHERED - gathered.len();
                            gathered.extend_from_slice(&buffer[..buffer.len().min(room)]);
                        }
                        (gathered.as_mut_ptr(), gathered.len())
                    }
                };
                (*file, piece, *offset, false)
            }
            _ => unreachable!("called for reads and writes"),
        };
        Transfer { file, start, length: length.min(LONGEST), offset, reads }
    }

    /// Makes the call; 0 or what it failed with.
    ///
    /// # Safety
    /// The memory, the handle, `bytes` and what `overlapped` points to must be valid until the call has ended.
    unsafe fn call(&self, bytes: *mut u32, overlapped: *mut OVERLAPPED) -> u32 {
        let length = self.length as u32;
        // SAFETY: the caller's promise.
        unsafe {
            let done = if self.reads {
                ReadFile(self.file, self.start, length, bytes, overlapped)
            } else {
                WriteFile(self.file, self.start, length, bytes, overlapped)
            };
            if done != 0 { 0 } else { error::file(GetLastError()) }
        }
    }

    /// The same on a handle that blocks.
    fn block(self) -> io::Result<usize> {
        let (mut bytes, mut overlapped) = (0, OVERLAPPED::default());
        let place = match self.offset {
            Some(offset) => {
                overlapped.Anonymous.Anonymous.Offset = offset as u32;
                overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
                &raw mut overlapped
            }
            None => ptr::null_mut(),
        };
        // SAFETY: the operation's owner keeps memory and handle until the job's completion; on such a handle the call
        // has ended when it returns.
        match unsafe { self.call(&raw mut bytes, place) } {
            0 => Ok(bytes as usize),
            code if self.reads && is_end(code) => Ok(0),
            code if self.reads && error::truncated(code) => Ok(bytes as usize),
            code => Err(error::error(code)),
        }
    }
}

/// Whether a read ended so because there is no more: past a file's last byte (told by the call or by its packet), or on
/// a pipe whose other end is closed.
fn is_end(code: u32) -> bool {
    code == ERROR_HANDLE_EOF || code == ERROR_BROKEN_PIPE
}

/// Whether it has a position, and its reads end by themselves; not so pipes and devices.
pub(super) fn is_on_disk(file: HANDLE) -> bool {
    // SAFETY: only asks; any number is allowed.
    unsafe { GetFileType(file) == FILE_TYPE_DISK }
}

/// A read, a write or an accept on a handle that can only block, for the pool.
pub(super) fn blocking(op: Op<'static>) -> Function {
    let job = Blocking(op);
    Box::new(move || job.run())
}

struct Blocking(Op<'static>);

// SAFETY: handles may be used on any thread, and what the operation borrows is left alone by its owner until the
// completion has come.
unsafe impl Send for Blocking {}

impl Blocking {
    fn run(mut self) -> io::Result<usize> {
        if let Op::AcceptPipe { pipe } = self.0 {
            return pipe::accept_blocking(pipe);
        }
        let mut gathered = Vec::new();
        let mut transfer = Transfer::next(&mut self.0, 0, &mut gathered);
        if !is_on_disk(transfer.file) {
            return transfer.block();
        }
        // Here the system moves the file's position even where an offset is given. It is put back, and meanwhile no
        // other thread of the pool may see it.
        let turn = &TURNS[transfer.file as usize / 4 % TURNS.len()];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = transfer.offset.and_then(|_| position(transfer.file, 0, FILE_CURRENT).ok());
        let mut moved = 0;
        let result = loop {
            match transfer.block() {
                Err(_) if moved > 0 => break Ok(moved),
                Err(error) => break Err(error),
                Ok(count) => moved += count,
            }
            if !transfer.reads || moved == 0 || !is_between(&self.0, moved) {
                break Ok(moved);
            }
            transfer = Transfer::next(&mut self.0, moved, &mut gathered);
            transfer.offset = transfer.offset.map(|offset| offset + moved as u64);
        };
        if let Some(before) = before {
            // It was told a moment ago, so it can be set.
            let _ = position(transfer.file, before as i64, FILE_BEGIN);
        }
        result
    }
}

/// Whose turn it is on a blocking handle, by its number.
static TURNS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// Whether `moved` bytes of a vectored read end with one of its pieces, and others are left.
fn is_between(op: &Op<'_>, moved: usize) -> bool {
    let Op::ReadVectored { buffers, .. } = op else { return false };
    let mut ends = buffers.iter().scan(0, |end, buffer| {
        *end += buffer.len();
        Some(*end)
    });
    ends.any(|end| end == moved) && ends.any(|end| end > moved)
}

/// Opens a file, for the pool: CreateFileW waits for the device, the network, the virus scanner.
pub(super) fn open(path: SystemPath, how: OpenHow) -> Function {
    Box::new(move || {
        let flags = how.flags | FILE_FLAG_OVERLAPPED;
        // SAFETY: the path ends with a NUL (`system_path`); the handle is not inherited where no attributes are given.
        let file = unsafe {
            CreateFileW(path.as_ptr(), how.access, how.share, ptr::null(), how.disposition, flags, ptr::null_mut())
        };
        if file == INVALID_HANDLE_VALUE { Err(io::Error::last_os_error()) } else { Ok(file as usize) }
    })
}

/// Flushes a file, for the pool: there is no overlapped form.
pub(super) fn sync(file: RawFile) -> Function {
    let file = file as usize;
    Box::new(move || {
        // SAFETY: takes a handle.
        if unsafe { FlushFileBuffers(file as HANDLE) } != 0 { Ok(0) } else { Err(io::Error::last_os_error()) }
    })
}

/// Where an operation on a file is to be; the outer `None` for operations on sockets.
pub(super) fn offset(op: &Op<'_>) -> Option<Option<u64>> {
    match op {
        Op::AcceptPipe { .. } => Some(None),
        Op::Read { offset, .. } | Op::ReadVectored { offset, .. } => Some(*offset),
        Op::Write { offset, .. } | Op::WriteVectored { offset, .. } => Some(*offset),
        _ => None,
    }
}

/// Whether nothing is to be moved. The system would wait on a pipe all the same.
pub(super) fn is_empty(op: &Op<'_>) -> bool {
    match op {
        Op::Read { buffer, .. } => buffer.is_empty(),
        Op::ReadVectored { buffers, .. } => buffers.iter().all(|buffer| buffer.is_empty()),
        Op::Write { buffer, .. } => buffer.is_empty(),
        Op::WriteVectored { buffers, .. } => buffers.iter().all(|buffer| buffer.is_empty()),
        _ => false,
    }
}

impl Core {
    pub(super) fn issue_transfer(&mut self, request: &mut Request, op: &mut Op<'_>, facts: Facts) -> Call {
        let transfer = Transfer::next(op, request.moved, &mut request.gathered);
        let offset = match transfer.offset {
            Some(offset) => offset + request.moved as u64,
            None if facts.disk => {
                if request.moved == 0 {
                    match position(transfer.file, 0, FILE_CURRENT) {
                        Ok(position) => request.start = position,
                        Err(code) => return Call::Ended(Ending::failed(code)),
                    }
                }
                request.start + request.moved as u64
            }
            // Pipes and devices have none.
            None => 0,
        };
        let overlapped = request.packet.prepare(request.id, 0, offset);
        let mut bytes = 0;
        // SAFETY: memory, handle and packet stay valid until the packet has come; the count is written by the call
        // itself.
        match unsafe { transfer.call(&raw mut bytes, overlapped) } {
            0 if facts.skips => Call::Ended(Ending::done(bytes as usize)),
            0 | ERROR_IO_PENDING => Call::InFlight,
            // A warning, so a packet comes: the pipe's message is longer than the buffer.
            code if transfer.reads && error::truncated(code) => match request.packet.ended().filter(|_| facts.skips) {
                Some((bytes, status)) => Call::Ended(Ending { bytes, code: error::of_file(status) }),
                None => Call::InFlight,
            },
            code => Call::Ended(Ending::failed(code)),
        }
    }

    pub(super) fn absorb_transfer(
        &mut self,
        request: &mut Request,
        op: &mut Op<'_>,
        facts: Facts,
        ending: Ending,
    ) -> Next {
        let reads = matches!(op, Op::Read { .. } | Op::ReadVectored { .. });
        match ending.code {
            0 => request.moved += ending.bytes,
            code if reads && error::truncated(code) => request.moved += ending.bytes,
            code if reads && is_end(code) => return Next::Over(Ok(request.moved), None),
            code => {
                request.moved += ending.bytes;
                return Next::fails(code);
            }
        }
        // On a pipe the rest may be long in coming, and what is there must not wait for it.
        let goes_on = facts.disk && ending.bytes > 0 && is_between(op, request.moved);
        if goes_on { Next::Again } else { Next::Over(Ok(request.moved), None) }
    }

    /// After an operation at the file's own position: moves that on.
    pub(super) fn move_on(&mut self, request: &Request, key: usize) {
        let own_position = request.op.as_ref().and_then(offset) == Some(None);
        let Some(handle) = self.handles.get(key).filter(|handle| own_position && handle.facts.disk) else { return };
        let file = key as HANDLE;
        let mut end = request.start as i64 + request.moved as i64;
        // SAFETY: `end` is filled by the call, which fails where the handle may not be asked for the size.
        if handle.facts.appends && unsafe { GetFileSizeEx(file, &raw mut end) } == 0 {
            return;
        }
        // It can only fail where the file is closed already, and then nobody asks.
        let _ = position(file, end, FILE_BEGIN);
    }

    /// Closes a file.
    pub(super) fn close_file(&mut self, file: RawFile) -> Started {
        if self.handles.get(file as usize).is_some_and(|handle| handle.in_flight > 0) {
            // Against the contract; closed with them in flight, the system ends them in several ways.
            // SAFETY: takes a handle, and null for all of its operations.
            unsafe { CancelIoEx(file, ptr::null()) };
        }
        self.forget(file as usize);
        // This number stands for no file, but elsewhere for the process itself, which can be "closed".
        if file == INVALID_HANDLE_VALUE {
            return Started::Done(Err(error::error(ERROR_INVALID_HANDLE)), None);
        }
        // SAFETY: the caller gives the file up.
        let closed = unsafe { CloseHandle(file) } != 0;
        Started::Done(if closed { Ok(0) } else { Err(io::Error::last_os_error()) }, None)
    }
}

/// Sets and tells the number that a file's handle has for its position.
fn position(file: RawFile, by: i64, from: SET_FILE_POINTER_MOVE_METHOD) -> Result<u64, u32> {
    let mut now = 0;
    // SAFETY: `now` is filled by the call.
    unsafe { if SetFilePointerEx(file, by, &raw mut now, from) != 0 { Ok(now as u64) } else { Err(GetLastError()) } }
}
