//! A service of systemd's, and a stand-in for its manager: a socket that hears what it is told, and a shell that passes
//! descriptors. This program is its own service: see [`service`].

#![cfg(unix)]

mod support;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use overlapped::prefork::{Builder, Connection, More, Worker};
use overlapped::process::{Child, Command};
use overlapped::signal::{HANGUP, Signals, TERMINATE};
use overlapped::systemd::{self, Socket};
use overlapped::{sleep, spawn};
use support::{LONG, run};

/// What a service of these tests does; a variable of its environment tells it.
const BEHAVIOUR: &str = "SYSTEMD_TEST";
/// What it is to find.
const EXPECTED: &str = "SYSTEMD_TEST_EXPECTED";

fn this_program(behaviour: &str) -> [String; 4] {
    let program = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    [program, "--exact".to_owned(), format!("this_program_{behaviour}"), "--ignored".to_owned()]
}

/// This program as a service, which the variables of sd_listen_fds(3) tell of its two descriptors, 3 and 4.
fn service(behaviour: &str, passed: [OwnedFd; 2], variables: &[(&str, &str)]) -> Command {
    let script = "export LISTEN_PID=${LISTEN_PID-$$}; exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(this_program("as_a_service")).arg("--nocapture").env(BEHAVIOUR, behaviour);
    for variable in ["NOTIFY_SOCKET", "FDSTORE", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDNAMES"] {
        // The tests may be a service themselves.
        command.env_remove(variable);
    }
    command.env("LISTEN_FDS", "2").envs(variables.iter().copied());
    let [third, fourth] = passed;
    command.stdin(third).stdout(fourth).kill_on_drop(true);
    command
}

fn nothing() -> [OwnedFd; 2] {
    let file = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into();
    [file(), file()]
}

/// Runs a service to its end.
fn runs(behaviour: &str, passed: [OwnedFd; 2], variables: &[(&str, &str)]) {
    let status = service(behaviour, passed, variables).status().unwrap();
    assert!(status.success(), "{behaviour}, {variables:?}: {status}");
}

/// The manager's ear.
struct Manager {
    socket: UnixDatagram,
    /// As `NOTIFY_SOCKET` has it.
    address: String,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Manager { socket, address: path.to_str().unwrap().to_owned(), _folder: folder }
    }

    fn hears_with(&self) -> (String, Vec<OwnedFd>) {
        let mut room = [0; 4096];
        let got = self.socket.recv_with_fds(&mut room, 8).unwrap();
        (String::from_utf8(room[..got.length].to_vec()).unwrap(), got.fds)
    }

    fn hears(&self) -> String {
        self.hears_with().0
    }

    /// What it hears but for the watchdog.
    fn hears_news(&self) -> String {
        std::iter::repeat_with(|| self.hears()).find(|said| said != "WATCHDOG=1").unwrap()
    }
}

/// Not a test: what [`service`] starts.
#[test]
#[ignore = "the tests start it, as a service"]
fn this_program_as_a_service() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else { return };
    run(|| match &*behaviour {
        "takes what is passed" => assert_eq!(described(), std::env::var(EXPECTED).unwrap()),
        "is refused" => {
            let error = systemd::listen_fds().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains(&std::env::var(EXPECTED).unwrap()), "{error}");
        }
        "takes no file for a listener" => {
            let error = systemd::listeners().unwrap_err();
            assert!(error.to_string().contains("\"unknown\" is passed, which is no listener"), "{error}");
        }
        "serves what is passed" => serve_what_is_passed(),
        "starts children" => start_children(),
        "tells" => tell(),
        "tells nobody" => tell_nobody(),
        "stores" => store(),
        "cannot tell that it is a server" => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let builder = Builder::new(1).listen("web", listener).tell_systemd(true);
            let [program, words @ ..] = this_program("works");
            let started = builder.start(move |_| {
                let mut command = Command::new(&program);
                command.args(&words).stdout(std::process::Stdio::null());
                command
            });
            assert_eq!(started.unwrap_err().kind(), ErrorKind::NotFound);
        }
        "is a server" => be_a_server("works"),
        "is a server whose new workers are never ready" => be_a_server("is_never_ready"),
        other => panic!("no behaviour: {other}"),
    });
}

fn described() -> String {
    let mut told = String::new();
    for passed in systemd::listen_fds().unwrap() {
        let kind = format!("{:?}", passed.socket);
        write!(told, "{}={} ", passed.name, kind.split('(').next().unwrap()).unwrap();
    }
    told.trim_end().to_owned()
}

#[test]
fn what_the_manager_passes_comes_as_what_it_is_with_its_name() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = |name: &str| UnixListener::bind(folder.path().join(name)).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (one, other) = UnixDatagram::pair().unwrap();
        let (stream, _peer) = UnixStream::pair().unwrap();
        let listener = tcp();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let [file, _] = nothing();
        drop(other);
        for (passed, names, expected) in [
            ([tcp().into(), unix("a").into()], Some("web:lines"), "web=TcpListener lines=UnixListener"),
            ([udp.into(), one.into()], Some("dns:dns"), "dns=UdpSocket dns=UnixDatagram"),
            ([stream.into(), connection.into()], Some(":b"), "=UnixStream b=TcpStream"),
            ([file, unix("c").into()], None, "unknown=Other unknown=UnixListener"),
        ] {
            let mut variables = vec![(EXPECTED, expected)];
            variables.extend(names.map(|names| ("LISTEN_FDNAMES", names)));
            runs("takes what is passed", passed, &variables);
        }
    });
}

#[test]
fn what_is_meant_for_another_process_is_not_taken() {
    run(|| {
        runs("takes what is passed", nothing(), &[(EXPECTED, ""), ("LISTEN_PID", "1")]);
        runs("takes what is passed", nothing(), &[(EXPECTED, ""), ("LISTEN_FDS", "0")]);
    });
}

#[test]
fn what_no_manager_has_set_is_refused_and_so_is_a_descriptor_that_was_not_inherited() {
    run(|| {
        for (variable, value, why) in [
            ("LISTEN_PID", "me", "LISTEN_PID is \"me\", and no number"),
            ("LISTEN_FDS", "-1", "LISTEN_FDS is \"-1\", and no number"),
            ("LISTEN_FDS", "+1", "LISTEN_FDS is \"+1\", and no number"),
            ("LISTEN_FDS", "2147483647", "LISTEN_FDS is too large"),
            ("LISTEN_FDNAMES", "one", "LISTEN_FDNAMES has 1 names for 2 descriptors"),
            // The port's own, or one that is not open at all.
            ("LISTEN_FDS", "3", "descriptor 5 is passed"),
            ("LISTEN_FDS", "1000000", "is passed"),
        ] {
            runs("is refused", nothing(), &[(variable, value), (EXPECTED, why)]);
        }
    });
}

#[test]
fn a_server_that_wants_listeners_refuses_a_file() {
    run(|| runs("takes no file for a listener", nothing(), &[]));
}

#[test]
fn a_listener_that_was_passed_serves_those_who_waited_in_its_line() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let mut clients: [Box<dyn Read>; 2] = [
            Box::new(TcpStream::connect(tcp.local_addr().unwrap()).unwrap()),
            Box::new(UnixStream::connect(&path).unwrap()),
        ];
        let mut service = service("serves what is passed", [tcp.into(), unix.into()], &[]).spawn().unwrap();
        for client in &mut clients {
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, "served");
        }
        assert!(service.wait().unwrap().success());
    });
}

fn serve_what_is_passed() {
    for passed in systemd::listen_fds().unwrap() {
        let mut stream: Box<dyn Write> = match passed.socket {
            Socket::TcpListener(listener) => Box::new(listener.accept().unwrap().0),
            Socket::UnixListener(listener) => Box::new(listener.accept().unwrap().0),
            other => panic!("{other:?}"),
        };
        stream.write_all(b"served").unwrap();
    }
    assert!(systemd::listen_fds().unwrap().is_empty(), "they are taken once");
}

#[test]
fn children_get_neither_the_descriptors_nor_the_variables() {
    run(|| runs("starts children", nothing(), &[("LISTEN_FDNAMES", "a:b"), ("LISTEN_PIDFDID", "7")]));
}

fn start_children() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let finds_none = "test -z \"${LISTEN_PID-}${LISTEN_FDS-}${LISTEN_FDNAMES-}${LISTEN_PIDFDID-}\"";
    let mut made_before = shell(finds_none);
    let passed = systemd::listen_fds().unwrap();
    assert_eq!(passed.len(), 2);
    assert!(made_before.status().unwrap().success());
    assert!(shell(finds_none).output().unwrap().status.success());
    assert!(shell("test ! -e /dev/fd/3 && test ! -e /dev/fd/4").status().unwrap().success());
    // One that passes descriptors itself says so.
    assert!(shell("test \"$LISTEN_FDS${LISTEN_PID-}\" = 7").env("LISTEN_FDS", "7").status().unwrap().success());
}

#[test]
fn the_manager_hears_what_it_is_told() {
    run(|| {
        let manager = Manager::new();
        let variables = [("NOTIFY_SOCKET", &*manager.address), ("WATCHDOG_USEC", "3000000")];
        let child = service("tells", nothing(), &variables).spawn().unwrap();
        hears_all(&manager, child);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_manager_with_an_abstract_name_hears_as_well() {
    run(|| {
        let address = format!("@overlapped-test-{}", std::process::id());
        let socket = UnixDatagram::bind(Path::new(&address.replacen('@', "\0", 1))).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let manager = Manager { socket, address, _folder: tempfile::tempdir().unwrap() };
        let variables = [("NOTIFY_SOCKET", &*manager.address), ("WATCHDOG_USEC", "3000000")];
        let child = service("tells", nothing(), &variables).spawn().unwrap();
        hears_all(&manager, child);
    });
}

fn hears_all(manager: &Manager, mut child: Child) {
    assert_eq!(manager.hears(), "READY=1");
    let reloading = manager.hears();
    let time: u64 = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading).parse().unwrap();
    assert!(time > 0);
    for said in ["STATUS=three of four: ünderway", "MAINPID=77", "WATCHDOG=1", "READY=1\nSTATUS=again", "STOPPING=1"] {
        assert_eq!(manager.hears(), said);
    }
    assert!(child.wait().unwrap().success());
}

fn tell() {
    let told = [
        systemd::ready(),
        systemd::reloading(),
        systemd::status("three of four: ünderway"),
        systemd::main_process(77),
        systemd::watchdog(),
        systemd::notify("READY=1\nSTATUS=again"),
        systemd::stopping(),
    ];
    assert!(told.into_iter().all(Result::unwrap));
    assert_eq!(systemd::watchdog_interval().unwrap(), Some(Duration::from_secs(3)));
    for wrong in ["", "READY", "=1", "READY=1\n\nSTATUS=x"] {
        assert_eq!(systemd::notify(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
    }
    assert_eq!(systemd::status("one\nMAINPID=1").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn who_has_no_manager_tells_nobody_and_one_that_is_gone_is_an_error() {
    run(|| {
        runs("tells nobody", nothing(), &[(EXPECTED, "nothing"), ("WATCHDOG_USEC", "5"), ("WATCHDOG_PID", "1")]);
        let manager = Manager::new();
        let (address, socket) = (manager.address.clone(), manager.socket);
        drop(socket);
        runs("tells nobody", nothing(), &[("NOTIFY_SOCKET", &address), (EXPECTED, "refused"), ("WATCHDOG_USEC", "0")]);
    });
}

fn tell_nobody() {
    if std::env::var(EXPECTED).unwrap() == "nothing" {
        assert!(!systemd::ready().unwrap());
        assert!(!systemd::store("a", &[std::io::stdin().as_fd()]).unwrap());
        assert_eq!(systemd::watchdog_interval().unwrap(), None, "it is another process's");
    } else {
        assert_eq!(systemd::ready().unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(systemd::watchdog_interval().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[test]
fn what_is_stored_goes_to_the_manager_under_its_name_and_to_the_next_process() {
    run(|| {
        let manager = Manager::new();
        let variables = [("NOTIFY_SOCKET", &*manager.address), ("FDSTORE", "2")];
        let mut first = service("stores", nothing(), &variables).spawn().unwrap();
        let (said, mut fds) = manager.hears_with();
        assert_eq!((&*said, fds.len()), ("FDSTORE=1\nFDNAME=lines of mine", 2));
        assert_eq!(manager.hears_with().0, "FDSTOREREMOVE=1\nFDNAME=lines of mine");
        assert!(first.wait().unwrap().success());
        let stored = [fds.remove(0), fds.remove(0)];
        let expected = "lines of mine=TcpListener lines of mine=UdpSocket";
        let variables = [("LISTEN_FDNAMES", "lines of mine:lines of mine"), (EXPECTED, expected)];
        runs("takes what is passed", stored, &variables);
    });
}

fn store() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(systemd::store_limit().unwrap(), Some(2));
    let fds = [tcp.as_fd(), udp.as_fd(), tcp.as_fd()];
    for (name, fds) in
        [("", &fds[..1]), ("a:b", &fds[..1]), ("ü", &fds[..1]), ("a\nREADY=1", &fds[..1]), ("a", &fds), ("a", &[])]
    {
        assert_eq!(systemd::store(name, fds).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}, {}", fds.len());
    }
    assert_eq!(systemd::unstore(&"a".repeat(256)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(systemd::store("lines of mine", &fds[..2]).unwrap());
    assert!(systemd::unstore("lines of mine").unwrap());
}

fn be_a_server(new_workers: &'static str) {
    let mut signals = Signals::new([HANGUP, TERMINATE]).unwrap();
    let worker = |behaviour: &str| {
        let [program, words @ ..] = this_program(behaviour);
        let mut command = Command::new(program);
        command.args(words).stdout(std::process::Stdio::null());
        command
    };
    let builder = Builder::new(2).listen_all(systemd::listeners().unwrap()).tell_systemd(true);
    let supervisor = std::rc::Rc::new(builder.start(move |_| worker("works")).unwrap());
    while signals.wait().unwrap() == HANGUP {
        let supervisor = std::rc::Rc::clone(&supervisor);
        spawn(move || supervisor.upgrade(move |_| worker(new_workers)));
    }
    // Where a new worker is never ready it is ended.
    let in_time = supervisor.stop(if new_workers == "works" { LONG } else { Duration::from_millis(50) });
    assert_eq!(in_time.is_ok(), new_workers == "works");
    drop(supervisor);
    systemd::notify("X_ENDED=1").unwrap();
}

/// Not a test: a worker of a server that is a service.
#[test]
#[ignore = "the tests start it, as a worker"]
fn this_program_works() {
    fn answer(mut connection: Connection) -> std::io::Result<()> {
        let mut request = Vec::new();
        loop {
            if request.last() == Some(&b'\n') {
                return writeln!(connection, "{} {}", std::process::id(), connection.listener().to_owned());
            }
            match connection.read_more(&mut request)? {
                More::Bytes(_) => {}
                More::End => return Ok(()),
                More::Move => return Ok(connection.give(&request)?),
            }
        }
    }
    run(|| Worker::from_environment().unwrap().serve(|connection| answer(connection).unwrap()).unwrap());
}

/// Not a test: a worker that is never ready.
#[test]
#[ignore = "the tests start it, as a worker"]
fn this_program_is_never_ready() {
    run(|| {
        let _worker = Worker::from_environment().unwrap();
        sleep(LONG);
    });
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_server_takes_its_listeners_from_the_manager_and_tells_how_it_is() {
    run(|| {
        let manager = Manager::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let address = tcp.local_addr().unwrap();
        let variables =
            [("NOTIFY_SOCKET", &*manager.address), ("LISTEN_FDNAMES", "web:lines"), ("WATCHDOG_USEC", "20000")];
        let mut server = service("is a server", [tcp.into(), unix.into()], &variables).spawn().unwrap();
        assert_eq!(manager.hears_news(), "READY=1");
        let ask = |stream: &mut dyn ReadWrite| {
            let mut answer = String::new();
            stream.write_all(b"who?\n").unwrap();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let before = ask(&mut TcpStream::connect(address).unwrap());
        assert!(before.ends_with(" web\n"), "{before}");
        assert!(ask(&mut UnixStream::connect(&path).unwrap()).ends_with(" lines\n"));
        signal(&server, "-HUP");
        assert!(manager.hears_news().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(manager.hears_news(), "READY=1");
        assert_ne!(ask(&mut TcpStream::connect(address).unwrap()), before, "all workers are others");
        // It is heard again and again.
        (0..3).for_each(|_| while manager.hears() != "WATCHDOG=1" {});
        signal(&server, "-TERM");
        assert_eq!(manager.hears_news(), "STOPPING=1");
        assert_eq!(manager.hears_news(), "X_ENDED=1");
        assert!(server.wait().unwrap().success());
    });
}

#[test]
fn a_server_that_stops_while_it_reloads_says_nothing_more_than_that() {
    run(|| {
        let manager = Manager::new();
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap().into();
        let behaviour = "is a server whose new workers are never ready";
        let variables = [("NOTIFY_SOCKET", &*manager.address)];
        let mut server = service(behaviour, [listener(), listener()], &variables).spawn().unwrap();
        assert_eq!(manager.hears(), "READY=1");
        signal(&server, "-HUP");
        assert!(manager.hears().starts_with("RELOADING=1\n"));
        signal(&server, "-TERM");
        assert_eq!(manager.hears(), "STOPPING=1");
        assert_eq!(manager.hears(), "X_ENDED=1");
        assert!(server.wait().unwrap().success());
    });
}

#[test]
fn a_server_that_cannot_tell_its_manager_does_not_start() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let nobody = folder.path().join("nobody");
        runs("cannot tell that it is a server", nothing(), &[("NOTIFY_SOCKET", nobody.to_str().unwrap())]);
    });
}

/// Both ways of a stream.
trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}
