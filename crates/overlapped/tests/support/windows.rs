//! What the tests need from the system: Windows.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::Duration;

use overlapped::fs::{File, OpenOptions};
use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectTypeInformation};
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE, INVALID_HANDLE_VALUE, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_OUTBOUND,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_TYPE_BYTE};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, PROCESS_DUP_HANDLE, PROCESS_TERMINATE, TerminateProcess,
};
use windows_sys::core::w;

/// A stream that has its two ends here.
pub(crate) type Stream = overlapped::net::TcpStream;

/// The two ends of a stream.
pub(crate) fn stream_pair() -> (Stream, Stream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one.into(), listener.accept().unwrap().0.into())
}

/// A pipe: its reading and its writing end. Named, for anonymous pipes know blocking calls alone.
pub(crate) fn pipe() -> (File, File) {
    // Process ids repeat under Wine, so chance makes the name.
    let name = format!(r"\\.\pipe\overlapped-test-{:016x}", fastrand::u64(..));
    let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mode = PIPE_ACCESS_OUTBOUND | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED;
    // SAFETY: the name ends with a NUL and lives through the call; the handle is new and gets its only owner.
    let writer = unsafe {
        let writer = CreateNamedPipeW(wide.as_ptr(), mode, PIPE_TYPE_BYTE, 1, 4096, 4096, 0, ptr::null());
        assert_ne!(writer, INVALID_HANDLE_VALUE, "{}", std::io::Error::last_os_error());
        OwnedHandle::from_raw_handle(writer)
    };
    (OpenOptions::new().read(true).open(name).unwrap(), writer.into())
}

/// How many files, pipes and sockets the process has open; other handles (threads, events) come and go by themselves.
/// Handles are small multiples of four.
pub(crate) fn open_descriptors() -> usize {
    (4..0x4000).step_by(4).filter(|number| kind_of(*number).is_some_and(|kind| kind == "File")).count()
}

/// As [`open_descriptors`], for another process: of each of its handles a copy is made and looked at.
pub(crate) fn descriptors_of(process: u32) -> usize {
    // SAFETY: the process's handle is new and gets its only owner.
    let process = unsafe { OwnedHandle::from_raw_handle(OpenProcess(PROCESS_DUP_HANDLE, 0, process)) };
    let is_file = |number: usize| {
        let mut copy = ptr::null_mut();
        // SAFETY: the process's handle is open, the room for the copy's lives through the call; any number is allowed. A
        // copy gets its only owner.
        let copy = unsafe {
            let (theirs, here) = (process.as_raw_handle(), GetCurrentProcess());
            if DuplicateHandle(theirs, number as HANDLE, here, &raw mut copy, 0, 0, DUPLICATE_SAME_ACCESS) == 0 {
                return false;
            }
            OwnedHandle::from_raw_handle(copy)
        };
        kind_of(copy.as_raw_handle() as usize).is_some_and(|kind| kind == "File")
    };
    (4..0x4000).step_by(4).filter(|number| is_file(*number)).count()
}

/// The type of an open handle's object: `File`, `Thread`, …
fn kind_of(number: usize) -> Option<String> {
    let mut room = [0_u64; 64];
    let (start, length) = (room.as_mut_ptr().cast(), size_of_val(&room) as u32);
    // SAFETY: the room is as long as said, and begins with the name (`PUBLIC_OBJECT_TYPE_INFORMATION`), whose text is
    // in it too. Any number is allowed.
    unsafe {
        if NtQueryObject(number as HANDLE, ObjectTypeInformation, start, length, ptr::null_mut()) < 0 {
            return None;
        }
        let name = start.cast::<UNICODE_STRING>().read();
        let text = std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2);
        Some(String::from_utf16_lossy(text))
    }
}

/// Whether this is Wine, which has a function to say so.
fn is_wine() -> bool {
    // SAFETY: both names end with a NUL; the library is in every process.
    unsafe { GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), c"wine_get_version".as_ptr().cast()).is_some() }
}

/// Runs a test that Wine cannot pass. Where it passes there all the same, that is a failure: take the exception away.
pub(crate) fn except_under_wine(reason: &str, test: impl FnOnce()) {
    if !is_wine() {
        return test();
    }
    let ended = catch_unwind(AssertUnwindSafe(test));
    assert!(ended.is_err(), "it passes under Wine: take away the exception, which says: {reason}");
}

/// How long a client waits for the answer of a process that may have been killed; `None` until its connection is closed.
///
/// Under Wine 8 a process that is killed in the middle of a send leaves that connection open for ever: its server keeps the
/// send, which nobody will end, and the send keeps the socket. Eight in twenty that do nothing but send leave it so.
pub(crate) fn patience_with_the_killed() -> Option<Duration> {
    is_wine().then(|| (super::LONG / 3).mul_f64(super::crowd()))
}

/// Ends a process at once, if it is there.
pub(crate) fn kill(process: u32) {
    // SAFETY: the handle that is opened is closed by its only owner; one that there is not is refused.
    unsafe {
        let handle = OpenProcess(PROCESS_TERMINATE, 0, process);
        if !handle.is_null() {
            TerminateProcess(handle, 9);
            drop(OwnedHandle::from_raw_handle(handle));
        }
    }
}
