//! Calls on handles whose packets go to another port.
//!
//! What a handle names keeps the port that it was associated with first: that of another thread, of the process that gave
//! it away, of an earlier [`Port`](crate::Port) of this thread, or of another library. Which one cannot be asked for. But
//! where a call's event has the lowest bit of its handle set, the call's end sets the event and queues no packet
//! ("GetQueuedCompletionStatus", on `hEvent`), whosever the handle is. The system's thread pool waits for the event and
//! posts the packet here that the system would have posted. That is dearer, and only these handles pay for it.

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{GetLastError, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::IO::{OVERLAPPED, PostQueuedCompletionStatus};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
};

use super::PACKET_KEY;

/// An event, and the wait for it that lasts as long: for one call after the other.
///
/// A call that ends at once sets the event too, and its packet comes late, when the memory may be in use for another call.
/// A packet is but a hint to look there, so that does no harm.
pub(super) struct Watch {
    /// Dropped before the event.
    _watching: Watching,
    event: OwnedHandle,
}

impl Watch {
    /// For calls with the memory `overlapped`, whose packets are to come to `port`. Both are to outlive this.
    pub(super) fn new(port: HANDLE, overlapped: *mut OVERLAPPED) -> Result<Watch, u32> {
        // SAFETY: makes an event without a name, which is reset by the wait that it ends.
        let event = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        if event.is_null() {
            // SAFETY: reads a thread-local number.
            return Err(unsafe { GetLastError() });
        }
        // SAFETY: the handle is new, and this is its only owner.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        let post = Post { port, key: PACKET_KEY, overlapped };
        Ok(Watch { _watching: Watching::new(event.as_raw_handle(), post)?, event })
    }

    /// What the call's `hEvent` is to be.
    pub(super) fn event(&self) -> HANDLE {
        (self.event.as_raw_handle() as usize | 1) as HANDLE
    }
}

/// What to post where.
pub(super) struct Post {
    pub(super) port: HANDLE,
    pub(super) key: usize,
    pub(super) overlapped: *mut OVERLAPPED,
}

/// The thread pool's wait for an object, which posts a packet each time the object ends it.
pub(super) struct Watching {
    wait: HANDLE,
    /// What the pool's thread is given; it is on the heap because its address must stay.
    _post: Box<Post>,
}

impl Watching {
    /// The object, which the wait resets, and what is posted are to outlive this.
    pub(super) fn new(object: HANDLE, post: Post) -> Result<Watching, u32> {
        let mut watching = Watching { wait: ptr::null_mut(), _post: Box::new(post) };
        let context: *const Post = &raw const *watching._post;
        // SAFETY: the object is open, and what the context points to stays until the wait has ended, in `drop`. The
        // function never waits, so it may run on the thread that waits for all objects.
        let registered = unsafe {
            let (wait, function) = (&raw mut watching.wait, Some(post_packet as _));
            RegisterWaitForSingleObject(wait, object, function, context.cast(), INFINITE, WT_EXECUTEINWAITTHREAD)
        };
        // SAFETY: reads a thread-local number.
        if registered != 0 { Ok(watching) } else { Err(unsafe { GetLastError() }) }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.wait.is_null() {
            // SAFETY: the wait is this one's. The call returns when the pool's thread is not in the function, and will
            // not be.
            unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
        }
    }
}

/// Runs on a thread of the system's pool, when the object has ended the wait.
unsafe extern "system" fn post_packet(context: *mut c_void, _timed_out: bool) {
    // SAFETY: `Watching` keeps what the context points to until this runs no more, and nobody writes to it.
    let post = unsafe { &*context.cast::<Post>() };
    // SAFETY: the port is open as long as the wait is registered; only numbers are posted.
    while unsafe { PostQueuedCompletionStatus(post.port, 0, post.key, post.overlapped) } == 0 {
        // It only fails where the kernel is out of memory for a packet, and a lost one would be a hang.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
