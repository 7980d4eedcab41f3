//! Starting io_uring: the best set-up that this kernel takes, and in words why it takes none.

use std::fs;
use std::io;
use std::rc::Rc;

use io_uring::squeue::Entry;
use io_uring::{IoUring, Probe, opcode};

use super::buffers::{BufferRing, GROUP, MOST};
use crate::backend::Settings;
use crate::explained::explained;

/// Submissions that are collected before they have to be flushed: enough for a turn of a busy loop, small enough
/// (16 KiB) to stay in the nearest caches.
const SUBMISSIONS: u32 = 256;

/// A set-up flag or two that belong together, with the kernel that brought them.
struct Group {
    names: &'static str,
    since: &'static str,
    set: fn(&mut io_uring::Builder),
}

/// The optional flags (io_uring_setup(2)), the newest last: an old kernel refuses an unknown one with EINVAL without
/// saying which, so they are dropped from the end until it agrees. DEFER_TASKRUN wants SINGLE_ISSUER.
const GROUPS: &[Group] = &[
    Group {
        names: "SUBMIT_ALL",
        since: "5.18",
        set: |builder| {
            builder.setup_submit_all();
        },
    },
    Group {
        names: "COOP_TASKRUN, TASKRUN_FLAG",
        since: "5.19",
        set: |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        },
    },
    Group {
        names: "SINGLE_ISSUER",
        since: "6.0",
        set: |builder| {
            builder.setup_single_issuer();
        },
    },
    Group {
        names: "DEFER_TASKRUN",
        since: "6.1",
        set: |builder| {
            builder.setup_defer_taskrun();
        },
    },
    Group {
        names: "NO_SQARRAY",
        since: "6.6",
        set: |builder| {
            builder.setup_no_sqarray();
        },
    },
];

/// What the backend asks of the kernel. SEND_ZC is not used: it came with Linux 6.0 as did the multishot receive,
/// which is only a flag and cannot be asked for.
const OPCODES: &[(u8, &str)] = &[
    (opcode::Readv::CODE, "the operation READV"),
    (opcode::Writev::CODE, "the operation WRITEV"),
    (opcode::Fsync::CODE, "the operation FSYNC"),
    (opcode::PollAdd::CODE, "the operation POLL_ADD"),
    (opcode::SendMsg::CODE, "the operation SENDMSG"),
    (opcode::RecvMsg::CODE, "the operation RECVMSG"),
    (opcode::Timeout::CODE, "the operation TIMEOUT"),
    (opcode::Accept::CODE, "the operation ACCEPT"),
    (opcode::AsyncCancel::CODE, "the operation ASYNC_CANCEL"),
    (opcode::Connect::CODE, "the operation CONNECT"),
    (opcode::Close::CODE, "the operation CLOSE"),
    (opcode::Read::CODE, "the operation READ"),
    (opcode::Write::CODE, "the operation WRITE"),
    (opcode::Send::CODE, "the operation SEND"),
    (opcode::Recv::CODE, "the operation RECV"),
    (opcode::SendZc::CODE, "the operation SEND_ZC"),
];

/// A ring that works.
pub(super) struct Ring {
    pub(super) ring: IoUring,
    pub(super) buffers: Rc<BufferRing>,
    /// How it came about.
    pub(super) facts: Vec<String>,
    /// Whether the kernel has READ_MULTISHOT (Linux 6.7).
    pub(super) reads_many: bool,
}

/// Makes a ring.
pub(super) fn start(settings: &Settings) -> io::Result<Ring> {
    // The completion queue must not be shorter than the submission queue.
    let wanted = (settings.capacity as u32).next_power_of_two().max(2 * SUBMISSIONS);
    let mut completions = wanted;
    let (ring, buffers, reads_many, kept) = loop {
        match attempt(settings, completions) {
            Ok(started) => break started,
            Err(refusal) if refusal.is(libc::ENOMEM) && completions > 2 * SUBMISSIONS => completions /= 2,
            Err(refusal) => return Err(explain(refusal.call, refusal.error)),
        }
    };
    let (in_effect, refused) = GROUPS.split_at(kept);
    let names: Vec<&str> = in_effect.iter().map(|group| group.names).collect();
    let mut facts = vec![
        format!("flags: CLAMP, CQSIZE, {}", names.join(", ")),
        format!(
            "submission queue of {}, completion queue of {} entries",
            ring.params().sq_entries(),
            ring.params().cq_entries()
        ),
        format!("{} provided buffers of {} bytes", buffers.count(), buffers.size()),
    ];
    facts.extend(refused.iter().map(|group| format!("refused: {} (needs Linux {})", group.names, group.since)));
    if completions < wanted {
        facts.push(format!("memory was short for a completion queue of {wanted} entries (RLIMIT_MEMLOCK)"));
    }
    Ok(Ring { ring, buffers, facts, reads_many })
}

/// A call that the system refused.
struct Refusal {
    call: &'static str,
    error: io::Error,
}

impl Refusal {
    fn is(&self, errno: i32) -> bool {
        self.error.raw_os_error() == Some(errno)
    }
}

fn refused(call: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal { call, error }
}

/// Sets everything up with so many completions; the last number is that of the [`GROUPS`] in effect.
fn attempt(settings: &Settings, completions: u32) -> Result<(IoUring, Rc<BufferRing>, bool, usize), Refusal> {
    let mut kept = GROUPS.len();
    let ring = loop {
        let mut builder = IoUring::<Entry>::builder();
        builder.setup_clamp().setup_cqsize(completions);
        GROUPS[..kept].iter().for_each(|group| (group.set)(&mut builder));
        match builder.build(SUBMISSIONS).map_err(refused("io_uring_setup")) {
            Ok(ring) => break ring,
            Err(refusal) if refusal.is(libc::EINVAL) && kept > 0 => kept -= 1,
            Err(refusal) => return Err(refusal),
        }
    };
    let features = ring.params();
    let features = [
        (features.is_feature_nodrop(), "the feature NODROP (completions are never dropped)"),
        (features.is_feature_ext_arg(), "the feature EXT_ARG (a wait with a timeout)"),
        (features.is_feature_rw_cur_pos(), "the feature RW_CUR_POS (reads at the file's position)"),
        (features.is_feature_skip_cqe_on_success(), "the feature CQE_SKIP (silent success)"),
    ];
    if let Some((_, name)) = features.iter().find(|(present, _)| !present) {
        return Err(unsupported(name));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused("io_uring_register (PROBE)"))?;
    if let Some((_, name)) = OPCODES.iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(unsupported(name));
    }
    let buffers = BufferRing::new(settings.buffers.unwrap_or(MOST), settings.buffer_size)
        .map_err(refused("mmap of the provided buffers"))?;
    let (address, count) = buffers.as_raw();
    // SAFETY: the ring of buffers lives as long as the io_uring: the backend drops it after that.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }
        .map_err(refused("io_uring_register (PBUF_RING)"))?;
    Ok((ring, buffers, probe.is_supported(opcode::ReadMulti::CODE), kept))
}

fn unsupported(what: &str) -> Refusal {
    let text = format!("the kernel does not have {what}; the backend uring needs Linux 6.0 or newer");
    Refusal { call: "io_uring", error: io::Error::new(io::ErrorKind::Unsupported, text) }
}

/// Says what failed, with the system's name for the error and its likely cause here.
pub(super) fn explain(call: &str, error: io::Error) -> io::Error {
    let (name, cause) = match error.raw_os_error() {
        Some(libc::EPERM) => ("EPERM", denial()),
        Some(libc::EACCES) => ("EACCES", "a security module such as SELinux forbids it".to_string()),
        Some(libc::ENOSYS) => (
            "ENOSYS",
            "the kernel is older than 5.1, was built without io_uring, or a seccomp filter hides it".to_string(),
        ),
        Some(libc::EINVAL) => ("EINVAL", "the kernel is too old for what was asked".to_string()),
        Some(libc::ENOMEM) => ("ENOMEM", format!("RLIMIT_MEMLOCK is {}; raise it (ulimit -l)", memlock())),
        Some(libc::EMFILE) => {
            ("EMFILE", "the process has no descriptor left (RLIMIT_NOFILE); raise it (ulimit -n)".to_string())
        }
        Some(libc::ENFILE) => ("ENFILE", "the system has no descriptor left (sysctl fs.file-max)".to_string()),
        _ => ("", String::new()),
    };
    let text = if name.is_empty() { format!("{call}: {error}") } else { format!("{call}: {name}: {cause} ({error})") };
    explained(error, text)
}

/// Why a call is not permitted: the sysctl where it says so, else what else forbids it.
fn denial() -> String {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").as_deref().map(str::trim) {
        Ok("0") => {
            "the sysctl kernel.io_uring_disabled is 0 and allows it, so a seccomp filter (a container's) denies it"
                .to_string()
        }
        Ok("1") => "the sysctl kernel.io_uring_disabled is 1: only CAP_SYS_ADMIN and the group in \
                    kernel.io_uring_group may use it"
            .to_string(),
        Ok(value) => format!("the sysctl kernel.io_uring_disabled is {value}: nobody may use it"),
        Err(_) => "a seccomp filter, such as a container's, denies it".to_string(),
    }
}

/// The limit on locked memory, in words.
fn memlock() -> String {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a place for the answer, which outlives the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } {
        0 if limit.rlim_cur == libc::RLIM_INFINITY => "unlimited".to_string(),
        0 => format!("{} KiB", limit.rlim_cur >> 10),
        _ => "unknown".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_call_the_error_and_the_cause() {
        for (errno, name, cause) in [
            (libc::EPERM, "EPERM", "seccomp"),
            (libc::ENOSYS, "ENOSYS", "older than 5.1"),
            (libc::ENOMEM, "ENOMEM", "RLIMIT_MEMLOCK is"),
            (libc::EMFILE, "EMFILE", "RLIMIT_NOFILE"),
        ] {
            let error = explain("io_uring_setup", io::Error::from_raw_os_error(errno));
            let text = error.to_string();
            assert!(text.starts_with("io_uring_setup: ") && text.contains(name), "{text}");
            assert!(text.contains(cause) || text.contains("io_uring_disabled is"), "{text}");
            assert_eq!(error.kind(), io::Error::from_raw_os_error(errno).kind());
            let system = error.get_ref().and_then(|words| words.source()?.downcast_ref::<io::Error>());
            assert_eq!(system.and_then(io::Error::raw_os_error), Some(errno));
        }
    }
}
