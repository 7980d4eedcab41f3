//! The suite where io_uring is denied, as container runtimes do by default (Docker and containerd since 2023): a
//! seccomp filter answers its calls with `EPERM`.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::child;
use crate::report::DENIED;

#[test]
fn the_suite_passes_with_io_uring_denied() {
    // The filter holds for the thread that applies it, and for the child that this thread starts: no other test
    // notices.
    let denied = std::thread::spawn(|| {
        let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
        let rules: BTreeMap<_, _> = calls.into_iter().map(|call| (call, Vec::new())).collect();
        let denial = SeccompAction::Errno(libc::EPERM as u32);
        let architecture = std::env::consts::ARCH.try_into().expect("an architecture that seccomp knows");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denial, architecture).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).expect("the kernel takes the filter");
        let mut command = child::this_test(&["::chosen::"]);
        command.env(DENIED, "1").env_remove("OVERLAPPED_SKIP");
        child::passes(command)
    });
    let passed = denied.join().expect("the suite passes on the backend that is left");
    assert!(passed > 100, "only {passed} tests ran");
}
