//! Starting io_uring: the best set-up that this kernel takes, and in words why it takes none.

use std::fs;
use std::io;

use io_uring::squeue::Entry;
use io_uring::{IoUring, Probe, opcode};

use super::buffers::{BufferRing, GROUP};
use crate::backend::Settings;

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
    (opcode::Readv::CODE, "READV"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::SendZc::CODE, "SEND_ZC"),
];

/// A ring that works, its buffers, and how it came about.
pub(super) fn start(settings: &Settings) -> io::Result<(IoUring, BufferRing, Vec<String>)> {
    let mut facts = Vec::new();
    let ring = build(settings, &mut facts)?;
    let features = ring.params();
    for (present, name) in [
        (features.is_feature_nodrop(), "NODROP (completions are never dropped, Linux 5.5)"),
        (features.is_feature_ext_arg(), "EXT_ARG (a wait with a timeout, Linux 5.11)"),
        (features.is_feature_rw_cur_pos(), "RW_CUR_POS (reads at the file's position, Linux 5.6)"),
        (features.is_feature_skip_cqe_on_success(), "CQE_SKIP (silent success, Linux 5.17)"),
    ] {
        if !present {
            return Err(unsupported(format!("the feature {name}")));
        }
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| explain("io_uring_register (PROBE)", &error))?;
    if let Some((_, name)) = OPCODES.iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(unsupported(format!("the operation {name}")));
    }
    let buffers = BufferRing::new(settings.buffers, settings.buffer_size)
        .map_err(|error| explain("mmap of the provided buffers", &error))?;
    let (address, count) = buffers.as_raw();
    // SAFETY: the ring of buffers lives as long as the io_uring: the backend drops it after that.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }
        .map_err(|error| explain("io_uring_register (PBUF_RING, Linux 5.19)", &error))?;
    facts.push(format!(
        "submission queue of {}, completion queue of {} entries",
        ring.params().sq_entries(),
        ring.params().cq_entries()
    ));
    facts.push(format!("{} provided buffers of {} bytes", buffers.count(), buffers.size()));
    Ok((ring, buffers, facts))
}

/// Sets the ring up, without the flags that the kernel refuses and with a shorter completion queue where memory is
/// short.
fn build(settings: &Settings, facts: &mut Vec<String>) -> io::Result<IoUring> {
    // The completion queue must not be shorter than the submission queue; the port bounds what is in flight.
    let wanted = (settings.capacity as u32).next_power_of_two().max(2 * SUBMISSIONS);
    let mut completions = wanted;
    let mut kept = GROUPS.len();
    loop {
        let mut builder = IoUring::<Entry>::builder();
        builder.setup_clamp().setup_cqsize(completions);
        GROUPS[..kept].iter().for_each(|group| (group.set)(&mut builder));
        match builder.build(SUBMISSIONS) {
            Ok(ring) => {
                let (in_effect, refused) = GROUPS.split_at(kept);
                let names: Vec<&str> = in_effect.iter().map(|group| group.names).collect();
                facts.push(format!("flags: CLAMP, CQSIZE, {}", names.join(", ")));
                facts.extend(
                    refused.iter().map(|group| format!("refused: {} (needs Linux {})", group.names, group.since)),
                );
                if completions < wanted {
                    facts.push(format!("memory was short for a completion queue of {wanted} entries"));
                }
                return Ok(ring);
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && kept > 0 => kept -= 1,
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && completions > 2 * SUBMISSIONS => {
                completions /= 2;
            }
            Err(error) => return Err(explain("io_uring_setup", &error)),
        }
    }
}

fn unsupported(what: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("io_uring: this kernel does not have {what}; the backend uring needs Linux 6.0 or newer"),
    )
}

/// Says what failed, with the system's name for the error and its likely cause here.
fn explain(call: &str, error: &io::Error) -> io::Error {
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
    io::Error::new(error.kind(), text)
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
            let system = io::Error::from_raw_os_error(errno);
            let error = explain("io_uring_setup", &system);
            let text = error.to_string();
            assert!(text.starts_with("io_uring_setup: ") && text.contains(name), "{text}");
            assert!(text.contains(cause) || text.contains("io_uring_disabled is"), "{text}");
            assert_eq!(error.kind(), system.kind());
        }
    }
}
