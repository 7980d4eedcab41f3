//! Calls on handles whose packets go to another port.
//!
//! What a handle names keeps the port that it was associated with first: that of another thread, of the process that gave
//! it away, of an earlier [`Port`](crate::Port) of this thread, or of another library. Which one cannot be asked for. But
//! where a call's event has the lowest bit of its handle set, the call's end sets the event and queues no packet
//! ("GetQueuedCompletionStatus", on `hEvent`), whosever the handle is. The system's thread pool waits for the event and
//! posts the packet here that the system would have posted. That is dearer, and only these handles pay for it.

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::Foundation::{CloseHandle, GetLastError, HANDLE, INVALID_HANDLE_VALUE};
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
    event: HANDLE,
    wait: HANDLE,
    /// What the pool's thread is given; it is on the heap because its address must stay.
    _post: Box<Post>,
}

/// What to post where.
struct Post {
    port: HANDLE,
    overlapped: *mut OVERLAPPED,
}

impl Watch {
    /// For calls with the memory `overlapped`, whose packets are to come to `port`. Both are to outlive this.
    pub(super) fn new(port: HANDLE, overlapped: *mut OVERLAPPED) -> Result<Watch, u32> {
        let post = Box::new(Post { port, overlapped });
        // SAFETY: makes an event without a name, which is reset by the wait that it ends.
        let event = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        // SAFETY: reads a thread-local number.
        let failed = || unsafe { GetLastError() };
        if event.is_null() {
            return Err(failed());
        }
        let mut watch = Watch { event, wait: ptr::null_mut(), _post: post };
        let context: *const Post = &raw const *watch._post;
        // SAFETY: the event is open, and what the context points to stays until the wait has ended, in `drop`. The
        // function never waits, so it may run on the thread that waits for all events.
        let registered = unsafe {
            let (wait, function) = (&raw mut watch.wait, Some(post_packet as _));
            RegisterWaitForSingleObject(wait, event, function, context.cast(), INFINITE, WT_EXECUTEINWAITTHREAD)
        };
        if registered != 0 { Ok(watch) } else { Err(failed()) }
    }

    /// What the call's `hEvent` is to be.
    pub(super) fn event(&self) -> HANDLE {
        (self.event as usize | 1) as HANDLE
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: wait and event are this one's. The first call returns when the pool's thread is not in the function, and
        // will not be.
        unsafe {
            if !self.wait.is_null() {
                UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE);
            }
            CloseHandle(self.event);
        }
    }
}

/// Runs on a thread of the system's pool, when a call has ended.
unsafe extern "system" fn post_packet(context: *mut c_void, _timed_out: bool) {
    // SAFETY: the watch keeps what the context points to until this runs no more, and nobody writes to it.
    let post = unsafe { &*context.cast::<Post>() };
    // SAFETY: the port is open as long as the watch; only numbers are posted.
    while unsafe { PostQueuedCompletionStatus(post.port, 0, PACKET_KEY, post.overlapped) } == 0 {
        // It only fails where the kernel is out of memory for a packet, and a lost one would be a hang.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
