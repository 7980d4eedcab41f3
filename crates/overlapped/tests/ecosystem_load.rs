//! hyper and tungstenite on tasklets under load: by h2load and wrk, where these run, and by clients on threads of the
//! system's. Asked is that every request is answered, and by what it asked for; how fast is a matter of the benchmarks.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use overlapped::{fs, offload, run};
use support::http::start;
use support::{Watch, alone, example, pattern};
use tungstenite::Message;

const SMALL: usize = 4_000;
const LARGE: usize = 2_000_000;

/// Loads come one after the other, and each has so many times a test's time.
fn alone_for(times: u32) -> (MutexGuard<'static, ()>, Watch) {
    (alone(), Watch::long(times))
}

/// The files of a folder, what is sent, and numbers that are doubled.
fn site(folder: &std::path::Path) -> Router {
    for (name, length) in [("small", SMALL), ("large", LARGE)] {
        fs::write(folder.join(name), pattern(0, length)).unwrap();
    }
    let read = async |State(folder): State<PathBuf>, Path(name): Path<String>| {
        fs::read(folder.join(name)).map_err(|error| error.to_string())
    };
    Router::new()
        .route("/file/{name}", get(read))
        .route("/echo", post(async |body: Body| body))
        .route("/double/{number}", get(async |Path(number): Path<u32>| (number * 2).to_string()))
        .with_state(folder.to_owned())
}

/// An example that serves until it is dropped, and says where in its first line.
struct Serving {
    program: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(name: &str, arguments: &[&str]) -> Serving {
        let mut program = Command::new(example(name)).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().trim_end_matches('/').rsplit('/').next().unwrap();
        Serving { program, address: address.parse().unwrap_or_else(|error| panic!("{line:?}: {error}")) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

/// Many requests at a time on one connection, and their answers in that order.
fn pipeline(server: SocketAddr, number: u32) {
    let mut stream = TcpStream::connect(server).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for round in 0..20 {
        let numbers = (0..16).map(|at| number * 1000 + round * 16 + at);
        let requests: Vec<_> =
            numbers.clone().map(|number| format!("GET /double/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
        stream.write_all(requests.concat().as_bytes()).unwrap();
        for number in numbers {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(answers.read_until(b'\n', &mut head).unwrap(), 0, "closed before {number} was answered");
            }
            assert!(head.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&head));
            let mut body = vec![0; (number * 2).to_string().len()];
            answers.read_exact(&mut body).unwrap();
            assert_eq!(body, (number * 2).to_string().as_bytes());
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_on_every_connection() {
    let (_alone, _watch) = alone_for(2);
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let (server, stop, serving) = start(site(folder.path()));
        let clients = offload(move || {
            std::thread::scope(|threads| {
                (0..30).for_each(|number| drop(threads.spawn(move || pipeline(server, number))));
            });
        });
        clients.unwrap();
        stop.set();
        serving.join().unwrap();
    });
}

/// Messages of all sizes on one connection, sixteen at a time.
fn talk(server: SocketAddr, number: usize) {
    let (mut socket, _) = tungstenite::client("ws://localhost/", TcpStream::connect(server).unwrap()).unwrap();
    for round in 0..10 {
        let messages: Vec<_> =
            (0..16).map(|at| Message::binary(pattern(number * 1000 + round, at * at * 30))).collect();
        messages.iter().for_each(|message| socket.write(message.clone()).unwrap());
        socket.flush().unwrap();
        messages.iter().for_each(|message| assert!(socket.read().unwrap() == *message, "{number}, round {round}"));
    }
    let large = Message::binary(pattern(number, 1 << 20));
    socket.send(large.clone()).unwrap();
    assert!(socket.read().unwrap() == large, "{number}, the large one");
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn the_websocket_example_sends_every_message_back_in_order() {
    let (_alone, _watch) = alone_for(2);
    let echo = Serving::start("websocket_echo", &["127.0.0.1:0"]);
    std::thread::scope(|threads| (0..50).for_each(|number| drop(threads.spawn(move || talk(echo.address, number)))));
}

#[cfg(unix)]
mod tools {
    use std::collections::HashSet;
    use std::io;
    use std::sync::{Arc, Mutex};

    use hyper::body::Incoming;
    use hyper::{Request, Response, server};
    use overlapped::ecosystem::PolledStream;
    use overlapped::ecosystem::hyper::{Executor, Timer, service};
    use overlapped::{Config, block_on, is_cancelled, tasklets};

    use super::*;

    /// Runs one of the tools and returns what it says.
    fn tool(program: &str, package: &str, arguments: &[&str], url: &str) -> String {
        let run = overlapped::process::Command::new(program).args(arguments).arg(url).output();
        let run =
            run.unwrap_or_else(|error| panic!("{error}: `{package}` is its package in Debian; make test installs it"));
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&run.stderr));
        said
    }

    /// So many requests by h2load, each of them answered with so many bytes.
    fn h2load(arguments: &str, url: &str, requests: usize, length: usize) {
        let count = requests.to_string();
        let arguments: Vec<&str> = arguments.split(' ').chain(["-n", &count]).collect();
        let said = tool("h2load", "nghttp2-client", &arguments, url);
        for expected in [
            format!(
                "requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, \
                 0 failed, 0 errored, 0 timeout"
            ),
            format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx"),
            format!("({}) data", requests * length),
        ] {
            assert!(said.contains(&expected), "h2load {arguments:?} {url}: not {expected:?}:\n{said}");
        }
    }

    #[test]
    fn h2load_has_every_request_answered_by_axum_in_either_protocol() {
        let (_alone, _watch) = alone_for(5);
        run(|| {
            let folder = tempfile::tempdir().unwrap();
            let (server, stop, serving) = start(site(folder.path()));
            let sent = folder.path().join("small");
            let up = |arguments: &str| format!("{arguments} -d {}", sent.display());
            let before = support::open_descriptors();
            for (arguments, path, requests, length) in [
                // One request after another on each connection; sixteen at a time; one connection a request.
                ("--h1 -c 50".to_owned(), "file/small", 2000, SMALL),
                ("--h1 -c 20 -m 16".to_owned(), "double/617", 4000, 4),
                ("--h1 -c 300".to_owned(), "file/small", 300, SMALL),
                ("--h1 -c 10".to_owned(), "file/large", 40, LARGE),
                (up("--h1 -c 20"), "echo", 1000, SMALL),
                // Many streams on few connections, some on many, and windows that hold up what is large (2^n - 1 bytes).
                ("-c 4 -m 100".to_owned(), "file/small", 4000, SMALL),
                ("-c 100 -m 10".to_owned(), "double/617", 4000, 4),
                ("-c 2 -m 20 -w 14 -W 16".to_owned(), "file/large", 40, LARGE),
                (up("-c 10 -m 20"), "echo", 2000, SMALL),
            ] {
                h2load(&arguments, &format!("http://{server}/{path}"), requests, length);
            }
            // What is left is this tasklet, and the server's two.
            support::wait_for("the connections are closed", || tasklets().len() == 3);
            assert_eq!(support::open_descriptors(), before);
            stop.set();
            serving.join().unwrap();
        });
    }

    #[test]
    fn h2load_has_every_request_answered_by_hyper_on_two_threads() {
        let (_alone, _watch) = alone_for(3);
        Config::new().schedulers(2).run(|| {
            let answer = || {
                service(|request: Request<Incoming>| {
                    io::Result::Ok(Response::new(request.uri().path().trim_matches('/').repeat(1000)))
                })
            };
            let mut threads = 0;
            for (version, arguments) in [("one", "--h1 -c 40 -m 4"), ("two", "-c 20 -m 50")] {
                let listener = overlapped::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}/{version}", listener.local_addr().unwrap());
                let served = Arc::new(Mutex::new(HashSet::new()));
                let seen = served.clone();
                let server = overlapped::spawn(move || {
                    listener.serve(move |stream, _| {
                        seen.lock().unwrap().insert(std::thread::current().id());
                        let stream = PolledStream::from(stream);
                        match version {
                            "one" => block_on(
                                server::conn::http1::Builder::new().timer(Timer).serve_connection(stream, answer()),
                            ),
                            _ => block_on(
                                server::conn::http2::Builder::new(Executor)
                                    .timer(Timer)
                                    .serve_connection(stream, answer()),
                            ),
                        }
                    })
                });
                h2load(arguments, &url, 4000, 3 * 1000);
                server.cancel();
                assert!(is_cancelled(&server.join().unwrap().unwrap_err()));
                threads += served.lock().unwrap().len();
            }
            assert_eq!(threads, 4, "each thread has served in each protocol");
        });
    }

    #[test]
    fn wrk_finds_no_error_in_the_static_site_example() {
        let (_alone, _watch) = alone_for(2);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.txt"), pattern(0, SMALL)).unwrap();
        let pipelined = folder.path().join("pipelined.lua");
        let script =
            "init = function() all = wrk.format(nil, '/page.txt'):rep(16) end\nrequest = function() return all end";
        std::fs::write(&pipelined, script).unwrap();
        let site = Serving::start("static_site", &[folder.path().to_str().unwrap(), "127.0.0.1:0"]);
        let url = format!("http://{}/page.txt", site.address);
        for way in [&[][..], &["--script", pipelined.to_str().unwrap()], &["--header", "Connection: close"]] {
            // What is still asked when the time is up is no error; that an answer is late is none either.
            let arguments =
                [&["--threads", "1", "--connections", "50", "--duration", "1s", "--timeout", "1m"], way].concat();
            let said = run(|| tool("wrk", "wrk", &arguments, &url));
            let told =
                said.lines().find_map(|line| line.trim_start().split_once(" requests in ")?.0.parse::<u64>().ok());
            assert!(told.is_some_and(|requests| requests > 0), "{arguments:?}: {said}");
            assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{arguments:?}: {said}");
        }
    }
}
