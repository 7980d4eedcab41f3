//! Services of tower's, axum's routers among them, served on tasklets.

mod support;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::routing::{get, post};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use overlapped::ecosystem::PolledStream;
use overlapped::ecosystem::hyper::Executor;
use overlapped::ecosystem::tower::serve;
use overlapped::net::{TcpListener, TcpStream};
use overlapped::reactor::Endpoint;
use overlapped::{Event, block_on, fs, sleep, spawn, timeout, yield_now};
use support::http::{Long, read_long, start};
use support::{LONG, Log, LogsDrop, pattern, run, run_long, wait_for};

/// One request of HTTP/1 by hand: what came until the server has closed.
fn ask(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut client = TcpStream::connect(server)?;
    write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

fn http2_client(server: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    let stream = PolledStream::from(TcpStream::connect(server).unwrap());
    let (sender, connection) = block_on(http2::handshake(Executor, stream)).unwrap();
    spawn(move || block_on(connection));
    sender
}

fn ask_by(sender: &mut http2::SendRequest<Empty<Bytes>>, path: &str) -> hyper::Result<String> {
    let request = hyper::Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap();
    block_on(async {
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn handlers_of_axum_read_files_connect_and_wait_in_either_protocol() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("greeting"), "hello from a file").unwrap();
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = echo.local_addr().unwrap();
        spawn(move || {
            for stream in echo.incoming() {
                let mut stream = stream?;
                let mut question = String::new();
                stream.read_to_string(&mut question)?;
                stream.write_all(question.to_uppercase().as_bytes())?;
            }
            io::Result::Ok(())
        });
        let path = folder.path().to_owned();
        let router = Router::new()
            .route(
                "/file/{name}",
                get(async |State(folder): State<std::path::PathBuf>, Path(name): Path<String>| {
                    fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
                }),
            )
            .route(
                "/ask/{question}",
                get(async move |Path(question): Path<String>| {
                    let mut stream = TcpStream::connect(peer).map_err(|error| error.to_string())?;
                    let asked =
                        stream.write_all(question.as_bytes()).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
                    asked.and_then(|()| io::read_to_string(stream)).map_err(|error| error.to_string())
                }),
            )
            .route(
                "/wait",
                get(async || {
                    let helper = spawn(|| {
                        sleep(Duration::from_millis(2));
                        "waited"
                    });
                    block_on(async { sleep(Duration::from_millis(1)) });
                    helper.await.unwrap()
                }),
            )
            .route("/whose", get(async |Extension(peer): Extension<Endpoint>| peer.ip().unwrap().ip().to_string()))
            .with_state(path);
        let (server, stop, serving) = start(router);
        let expected = [
            ("/file/greeting", "hello from a file"),
            ("/ask/abc", "ABC"),
            ("/wait", "waited"),
            ("/whose", "127.0.0.1"),
        ];
        let mut http2 = http2_client(server);
        for (path, answer) in expected {
            assert!(ask(server, path).unwrap().ends_with(answer), "{path}");
            assert_eq!(ask_by(&mut http2, path).unwrap(), answer);
        }
        assert!(ask(server, "/nowhere").unwrap().starts_with("HTTP/1.1 404"));
        stop.set();
        serving.join().unwrap();
    });
}

#[test]
fn a_body_of_a_hundred_megabytes_goes_through_a_handler() {
    run_long(4, || {
        const LARGE: usize = 100_000_000;
        let router = Router::new().route(
            "/",
            post(async |request: Request| {
                // The connection goes on while the handler waits for the rest of its own request.
                Body::new(Long::new(read_long(request.into_body())))
            }),
        );
        let (server, stop, serving) = start(router);
        let stream = PolledStream::from(TcpStream::connect(server).unwrap());
        let (mut sender, connection) = block_on(http1::handshake(stream)).unwrap();
        spawn(move || block_on(connection));
        let request = hyper::Request::post("/").header("host", "localhost").body(Long::new(LARGE)).unwrap();
        let response = block_on(sender.send_request(request)).unwrap();
        assert_eq!(read_long(response.into_body()), LARGE);
        drop(sender);
        stop.set();
        serving.join().unwrap();
    });
}

#[test]
fn many_clients_of_both_protocols_at_once_and_those_that_wait_hold_back_nobody() {
    run_long(2, || {
        let gate = Event::new();
        let theirs = gate.clone();
        let router = Router::new()
            .route("/gate", get(async move || theirs.wait()))
            .route("/{number}", get(async |Path(number): Path<u32>| (number * 2).to_string()));
        let (server, stop, serving) = start(router);
        let waiting: Vec<_> = (0..20).map(|_| spawn(move || ask(server, "/gate").unwrap())).collect();
        let clients: Vec<_> = (0..40_u32)
            .map(|number| {
                spawn(move || {
                    let mut http2 = http2_client(server);
                    for round in 0..10 {
                        let number = number * 100 + round;
                        let answer = (number * 2).to_string();
                        assert_eq!(ask_by(&mut http2, &format!("/{number}")).unwrap(), answer);
                        assert!(ask(server, &format!("/{number}")).unwrap().ends_with(&answer));
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(waiting.iter().all(|client| !client.is_finished()));
        gate.set();
        waiting.into_iter().for_each(|client| assert!(client.join().unwrap().starts_with("HTTP/1.1 200")));
        stop.set();
        serving.join().unwrap();
    });
}

#[test]
fn a_graceful_end_answers_what_was_asked_and_lets_go_of_who_asks_nothing() {
    run(|| {
        let (gate, begun) = (Event::new(), Event::new());
        let (theirs, set) = (gate.clone(), begun.clone());
        let router = Router::new().route(
            "/",
            get(async move || {
                set.set();
                theirs.wait();
                "answered"
            }),
        );
        let (server, stop, serving) = start(router);
        // One that has said nothing, one with half a request, one that is kept alive, and two with a request under way.
        let silent = TcpStream::connect(server).unwrap();
        let mut half = TcpStream::connect(server).unwrap();
        half.write_all(b"PRI * HT").unwrap();
        let mut kept = TcpStream::connect(server).unwrap();
        kept.write_all(b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        kept.read_exact(&mut [0; 12]).unwrap();
        let mut http2 = http2_client(server);
        let asked = spawn(move || ask(server, "/").unwrap());
        begun.wait();
        begun.clear();
        let asked_too = spawn(move || ask_by(&mut http2, "/").unwrap());
        begun.wait();
        stop.set();
        for mut client in [silent, half, kept] {
            io::copy(&mut client, &mut io::sink()).unwrap();
        }
        wait_for("the listener is closed", || TcpStream::connect(server).is_err());
        assert!(!serving.is_finished());
        gate.set();
        assert!(asked.join().unwrap().ends_with("answered"));
        assert_eq!(asked_too.join().unwrap(), "answered");
        serving.join().unwrap();
    });
}

#[test]
fn clients_that_do_not_do_their_part_of_the_end_are_ended_after_the_limit_and_others_are_not_hurried() {
    run(|| {
        let (log, begun) = (std::sync::Arc::new(std::sync::Mutex::new(0)), Event::new());
        struct Ends(std::sync::Arc<std::sync::Mutex<i32>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        for limit in [Duration::from_millis(5), LONG] {
            let (theirs, set, gate) = (log.clone(), begun.clone(), Event::new());
            let opens = gate.clone();
            let router = Router::new().route(
                "/",
                get(async move || {
                    let _ends = Ends(theirs.clone());
                    set.set();
                    gate.wait();
                    "answered"
                }),
            );
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (server, stop) = (listener.local_addr().unwrap(), Event::new());
            let stopped = stop.clone();
            let signal = async move { stopped.wait() };
            let serving = spawn(move || {
                serve(listener, router).with_shutdown_timeout(limit).with_graceful_shutdown(signal).run();
            });
            let asked = spawn(move || ask(server, "/"));
            begun.wait();
            begun.clear();
            // One of HTTP/2 that is told of the end, asked whether it has heard by a PING, and says nothing.
            let mut silent = TcpStream::connect(server).unwrap();
            silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
            silent.read_exact(&mut [0; 9]).unwrap();
            stop.set();
            let answer = if limit == LONG {
                opens.set();
                let answer = asked.join().unwrap().unwrap();
                assert!(!serving.is_finished(), "it waits for the other");
                drop(silent);
                answer
            } else {
                serving.join().unwrap();
                assert_eq!(*log.lock().unwrap(), 1, "the handler has ended");
                io::copy(&mut silent, &mut io::sink()).unwrap();
                asked.join().unwrap().unwrap_or_default()
            };
            assert_eq!(answer.ends_with("answered"), limit == LONG, "{answer}");
        }
        wait_for("no tasklet is left", || overlapped::tasklets().len() == 1);
    });
}

#[test]
fn a_server_that_is_cancelled_or_out_of_time_ends_at_once_with_its_handlers() {
    run(|| {
        let log = Log::new();
        for cancelled in [true, false] {
            let begun = Event::new();
            let set = begun.clone();
            let router = Router::new().route(
                "/",
                get(async move || {
                    set.set();
                    sleep(LONG * 10);
                }),
            );
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = listener.local_addr().unwrap();
            let ends = LogsDrop(log.clone(), "ended");
            let limit = if cancelled { LONG * 10 } else { Duration::from_millis(200) };
            let serving = spawn(move || {
                let _ends = ends;
                assert!(timeout(limit, || serve(listener, router).run()).is_err());
            });
            let client = spawn(move || ask(server, "/"));
            if cancelled {
                begun.wait();
                serving.cancel();
            }
            let _ = serving.join();
            assert_eq!(log.take(), ["ended"]);
            assert!(client.join().unwrap().is_ok_and(|answer| answer.is_empty()));
            wait_for("no handler is left", || overlapped::tasklets().len() == 1);
        }
    });
}

#[test]
fn a_handler_is_cancelled_when_its_client_has_gone_and_one_that_panics_ends_no_other() {
    run(|| {
        let (log, begun) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), Event::new());
        struct Ends(std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.lock().unwrap().push("ended");
            }
        }
        let (theirs, set) = (log.clone(), begun.clone());
        let router = Router::new()
            .route(
                "/wait",
                get(async move || {
                    let _ends = Ends(theirs.clone());
                    set.set();
                    sleep(LONG * 10);
                }),
            )
            .route(
                "/panic",
                get(async || {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/", get(async || "here"));
        let (server, stop, serving) = start(router);
        let mut leaves = TcpStream::connect(server).unwrap();
        leaves.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        begun.wait();
        leaves.set_linger(Some(Duration::ZERO)).unwrap();
        drop(leaves);
        wait_for("its handler is cancelled", || log.lock().unwrap().len() == 1);
        assert!(ask(server, "/panic").unwrap().is_empty());
        assert!(ask_by(&mut http2_client(server), "/panic").is_err());
        assert!(ask(server, "/").unwrap().ends_with("here"));
        stop.set();
        serving.join().unwrap();
    });
}

#[test]
fn the_first_bytes_tell_the_protocol_however_they_are_cut() {
    run(|| {
        let (server, stop, serving) = start(Router::new().route("/", get(async || "here")));
        // HTTP/2's preface with empty settings, byte for byte: the answer is the server's settings, a frame of type 4.
        let mut client = TcpStream::connect(server).unwrap();
        client.set_nodelay(true).unwrap();
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
            client.write_all(&[*byte]).unwrap();
            yield_now();
        }
        let mut frame = [0; 9];
        client.read_exact(&mut frame).unwrap();
        assert_eq!(frame[3], 4);
        drop(client);
        // A method that begins alike.
        let mut client = TcpStream::connect(server).unwrap();
        client.write_all(b"PR").unwrap();
        sleep(Duration::from_millis(2));
        client.write_all(b"OPFIND / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        assert!(io::read_to_string(client).unwrap().starts_with("HTTP/1.1 405"));
        // One that ends before it has said it, and one that says something else.
        let mut client = TcpStream::connect(server).unwrap();
        client.write_all(b"PRI").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        io::copy(&mut client, &mut io::sink()).unwrap();
        let mut client = TcpStream::connect(server).unwrap();
        client.write_all(&pattern(0, 300)).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        stop.set();
        serving.join().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_unix_listener_is_served_too() {
    run(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = overlapped::net::UnixListener::bind(&path).unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let server = spawn(move || serve(listener, router).run());
        let mut client = overlapped::net::UnixStream::connect(&path).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        assert!(io::read_to_string(client).unwrap().ends_with("here"));
        server.cancel();
        assert!(server.join().unwrap_err().is_cancelled());
    });
}
