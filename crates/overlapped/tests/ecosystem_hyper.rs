//! hyper on tasklets: HTTP/1 and HTTP/2, client and server.

mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::rt::{Executor as _, Timer as _, Write as _};
use hyper::{Request, Response, client, server};
use overlapped::ecosystem::PolledStream;
use overlapped::ecosystem::hyper::{EagerExecutor, Executor, Service, Timer, service};
use overlapped::net::{TcpListener, TcpStream};
use overlapped::{Event, JoinHandle, block_on, sleep, spawn, tasklets, yield_now};
use support::http::{Long, read_long};
use support::{LONG, Log, LogsDrop, run, run_long, wait_for};

const LARGE: usize = 100_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Http1,
    Http2,
}

const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

/// Serves on a port of its own, until the run ends.
fn serve<B>(version: Version, service: Service<B>) -> SocketAddr
where
    B: Body + 'static,
    B::Data: 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let (stream, service) = (PolledStream::from(stream?), service.clone());
            spawn(move || match version {
                Version::Http1 => {
                    block_on(server::conn::http1::Builder::new().timer(Timer).serve_connection(stream, service))
                }
                Version::Http2 => {
                    block_on(server::conn::http2::Builder::new(Executor).timer(Timer).serve_connection(stream, service))
                }
            });
        }
        io::Result::Ok(())
    });
    address
}

enum Client<B> {
    Http1(client::conn::http1::SendRequest<B>),
    Http2(client::conn::http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn connect(version: Version, address: SocketAddr) -> Client<B> {
        let stream = PolledStream::from(TcpStream::connect(address).unwrap());
        match version {
            Version::Http1 => {
                let (sender, connection) = block_on(client::conn::http1::handshake(stream)).unwrap();
                spawn(move || block_on(connection));
                Client::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = block_on(client::conn::http2::handshake(Executor, stream)).unwrap();
                spawn(move || block_on(connection));
                Client::Http2(sender)
            }
        }
    }

    fn ask(&mut self, path: &str, body: B) -> hyper::Result<Response<Incoming>> {
        let request = Request::post(format!("http://localhost{path}")).body(body).unwrap();
        match self {
            Client::Http1(sender) => block_on(async {
                sender.ready().await?;
                sender.send_request(request).await
            }),
            Client::Http2(sender) => block_on(sender.send_request(request)),
        }
    }

    fn get(&mut self, path: &str, body: B) -> String {
        text(self.ask(path, body).unwrap())
    }
}

fn text(response: Response<Incoming>) -> String {
    assert!(response.status().is_success());
    String::from_utf8(block_on(response.into_body().collect()).unwrap().to_bytes().to_vec()).unwrap()
}

fn none() -> Empty<Bytes> {
    Empty::new()
}

#[test]
fn many_connections_of_many_requests_each() {
    run_long(2, || {
        for version in BOTH {
            let server = serve(
                version,
                service(|request: Request<Incoming>| {
                    // The rest of the request, as code that blocks has it.
                    let path = request.uri().path().to_owned();
                    let body = block_on(request.into_body().collect())?.to_bytes();
                    yield_now();
                    hyper::Result::Ok(Response::new(format!("{path}: {}", body.len())))
                }),
            );
            let clients: Vec<JoinHandle<()>> = (0..50)
                .map(|number| {
                    spawn(move || {
                        let mut client = Client::connect(version, server);
                        for round in 0..20 {
                            let (path, length) = (format!("/{number}/{round}"), round * 1000);
                            let body = Full::new(Bytes::from(vec![b'x'; length]));
                            assert_eq!(client.get(&path, body), format!("{path}: {length}"));
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
        }
    });
}

#[test]
fn a_hundred_megabytes_go_up_and_come_back_unharmed() {
    run_long(4, || {
        for version in BOTH {
            let server = serve(
                version,
                service(|request: Request<Incoming>| {
                    io::Result::Ok(Response::new(Long::new(read_long(request.into_body()))))
                }),
            );
            let mut client = Client::connect(version, server);
            let response = client.ask("/", Long::new(LARGE)).unwrap();
            assert_eq!(read_long(response.into_body()), LARGE);
        }
    });
}

#[test]
fn a_handler_that_waits_holds_back_no_other_request() {
    run(|| {
        let event = Event::new();
        let theirs = event.clone();
        let handler = service(move |request: Request<Incoming>| {
            match request.uri().path() {
                "/wait" => theirs.wait(),
                _ => theirs.set(),
            }
            io::Result::Ok(Response::new("done".to_owned()))
        });
        // HTTP/2: on one connection; HTTP/1: on two.
        let client = Client::connect(Version::Http2, serve(Version::Http2, handler.clone()));
        let Client::Http2(sender) = client else { unreachable!("it is that") };
        let waits = sender.clone();
        let waiter = spawn(move || Client::Http2(waits).get("/wait", none()));
        yield_now();
        assert_eq!(Client::Http2(sender).get("/set", none()), "done");
        assert_eq!(waiter.join().unwrap(), "done");

        event.clear();
        let server = serve(Version::Http1, handler);
        let waiter = spawn(move || Client::connect(Version::Http1, server).get("/wait", none()));
        yield_now();
        assert_eq!(Client::connect(Version::Http1, server).get("/set", none()), "done");
        assert_eq!(waiter.join().unwrap(), "done");
    });
}

#[test]
fn a_handler_whose_client_has_gone_is_cancelled_and_the_server_goes_on() {
    run(|| {
        for version in BOTH {
            let log = Log::new();
            let (begun, theirs) = (Event::new(), log.clone());
            let set = begun.clone();
            let server = serve(
                version,
                service(move |request: Request<Incoming>| {
                    if request.uri().path() == "/wait" {
                        let _drops = LogsDrop(theirs.clone(), "cancelled");
                        set.set();
                        sleep(LONG * 10);
                    }
                    io::Result::Ok(Response::new("here".to_owned()))
                }),
            );
            let asks = spawn(move || {
                let stream = TcpStream::connect(server).unwrap();
                // Dropped, it resets the connection.
                stream.set_linger(Some(Duration::ZERO)).unwrap();
                let stream = PolledStream::from(stream);
                let request = Request::get("http://localhost/wait").body(none()).unwrap();
                match version {
                    Version::Http1 => {
                        let (mut sender, connection) = block_on(client::conn::http1::handshake(stream)).unwrap();
                        spawn(move || block_on(sender.send_request(request)).is_err());
                        let _ = block_on(connection);
                    }
                    Version::Http2 => {
                        let (mut sender, connection) =
                            block_on(client::conn::http2::handshake(Executor, stream)).unwrap();
                        spawn(move || block_on(sender.send_request(request)).is_err());
                        let _ = block_on(connection);
                    }
                }
            });
            begun.wait();
            asks.cancel();
            assert!(asks.join().unwrap_err().is_cancelled());
            if version == Version::Http1 {
                wait_for("the handler is cancelled", || log.take() == ["cancelled"]);
            }
            assert_eq!(Client::connect(version, server).get("/", none()), "here");
        }
    });
}

#[test]
fn a_handler_that_panics_or_fails_costs_its_connection_alone() {
    run(|| {
        let server = serve(
            Version::Http1,
            service(|request: Request<Incoming>| match request.uri().path() {
                "/panic" => panic!("on purpose"),
                "/fail" => Err(io::Error::other("on purpose")),
                _ => Ok(Response::new("here".to_owned())),
            }),
        );
        let mut other = Client::connect(Version::Http1, server);
        assert_eq!(other.get("/", none()), "here");
        for path in ["/panic", "/fail"] {
            assert!(Client::connect(Version::Http1, server).ask(path, none()).is_err());
        }
        assert_eq!(other.get("/", none()), "here");
    });
}

#[test]
fn a_flush_does_not_wait_for_what_is_on_its_way_and_a_shutdown_does() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = PolledStream::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let mut peer = listener.accept().unwrap().0;
        block_on(poll_fn(|context| {
            let mut stream = Pin::new(&mut stream);
            assert!(matches!(stream.as_mut().poll_write(context, b"hello"), Poll::Ready(Ok(5))));
            assert!(matches!(stream.as_mut().poll_flush(context), Poll::Ready(Ok(()))));
            assert!(stream.as_mut().poll_shutdown(context).is_pending(), "nobody has looked yet what became of it");
            Poll::Ready(())
        }));
        block_on(poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context))).unwrap();
        assert_eq!(io::read_to_string(&mut peer).unwrap(), "hello");
        let flushed = block_on(poll_fn(|context| Poll::Ready(Pin::new(&mut stream).poll_flush(context))));
        assert!(matches!(flushed, Poll::Ready(Ok(()))), "it is over, and nothing was lost");
    });
}

#[test]
fn an_eager_executor_polls_at_once_and_gives_a_tasklet_to_what_is_not_ready() {
    run(|| {
        let log = Log::new();
        let (event, alone) = (Event::new(), tasklets().len());
        let (at_once, later) = (log.clone(), log.clone());
        EagerExecutor.execute(async move { at_once.add("at once") });
        EagerExecutor.execute(async { panic!("on purpose") });
        assert_eq!((log.take(), tasklets().len()), (vec!["at once".to_owned()], alone));

        let set = event.clone();
        let waits = spawn(move || set.wait());
        EagerExecutor.execute(async move {
            waits.await.unwrap();
            later.add("later");
        });
        yield_now();
        assert_eq!(tasklets().len(), alone + 2, "one that waits, and the future's");
        event.set();
        wait_for("it goes on", || log.take() == ["later"]);
    });
}

#[test]
fn a_client_that_says_nothing_is_left_when_its_time_is_up() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            let stream = PolledStream::from(listener.accept().unwrap().0);
            let mut http = server::conn::http1::Builder::new();
            http.timer(Timer).header_read_timeout(Duration::from_millis(200));
            let handler = service(|_| io::Result::Ok(Response::new("hello".to_owned())));
            block_on(http.serve_connection(stream, handler))
        });
        let mut client = TcpStream::connect(address).unwrap();
        // A request in time, and a half one.
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 8];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1");
        client.write_all(b"GET / HTTP/1.1\r\nHos").unwrap();
        // Its end; or a reset, where the machine was so slow that the server had left before the half one came.
        let _ = io::copy(&mut client, &mut io::sink());
        assert!(server.join().unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn a_sleep_rings_at_its_time_also_where_that_was_moved() {
    run(|| {
        let moment = Duration::from_millis(20);
        let begun = Instant::now();
        block_on(Timer.sleep(moment));
        assert!(begun.elapsed() >= moment);

        // Later, while it is polled; earlier; and once it has rung.
        let mut sleep = Timer.sleep(moment);
        let rings = Rc::new(Cell::new(0));
        let begun = Instant::now();
        let polls = Rc::clone(&rings);
        block_on(async {
            let mut moved = false;
            std::future::poll_fn(|context| {
                polls.set(polls.get() + 1);
                let polled = sleep.as_mut().poll(context);
                if !std::mem::replace(&mut moved, true) {
                    Timer.reset(&mut sleep, begun + moment * 3);
                }
                polled
            })
            .await;
        });
        assert!(begun.elapsed() >= moment * 3);
        assert_eq!(rings.get(), 2, "it was polled when it rang");

        let mut sleep = Timer.sleep(LONG);
        let mut moved = false;
        block_on(std::future::poll_fn(|context| {
            if std::mem::replace(&mut moved, true) {
                return sleep.as_mut().poll(context);
            }
            assert!(sleep.as_mut().poll(context).is_pending());
            Timer.reset(&mut sleep, Instant::now() + moment);
            sleep.as_mut().poll(context)
        }));
        Timer.reset(&mut sleep, Instant::now() + moment);
        block_on(sleep);
        drop(Timer.sleep(LONG));
    });
}
