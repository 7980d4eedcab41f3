//! ureq opens its own connections unless it is given a connector: here one of ours, and our look-up of names.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use overlapped::net::{TcpStream, lookup_host};
use overlapped::{sleep, spawn, timeout};
use overlapped_with_crates::{run, serve};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Agent, Error};

#[derive(Debug)]
struct OnTasklets;

impl Connector for OnTasklets {
    type Out = Stream;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Stream>, Error> {
        let stream = within(details.timeout, || TcpStream::connect(&*details.addrs))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Stream { stream, buffers, is_open: true }))
    }
}

impl Resolver for OnTasklets {
    fn resolve(&self, uri: &Uri, _: &Config, limit: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let addresses = within(limit, || lookup_host((host, uri.port_u16().unwrap_or(80))))?;
        let mut resolved = self.empty();
        addresses.into_iter().take(16).for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

/// What ureq's own limits are for us: a time-out round the wait.
fn within<T>(limit: NextTimeout, wait: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    let limit = limit.not_zero().map_or(Duration::MAX, |after| *after);
    timeout(limit, wait).unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(Error::Io)
}

#[derive(Debug)]
struct Stream {
    stream: TcpStream,
    buffers: LazyBuffers,
    is_open: bool,
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), Error> {
        let Stream { stream, buffers, .. } = self;
        within(limit, || stream.write_all(&buffers.output()[..amount]))
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, Error> {
        let Stream { stream, buffers, .. } = self;
        let count = within(limit, || stream.read(buffers.input_append_buf()))?;
        self.buffers.input_appended(count);
        self.is_open &= count > 0;
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_open
    }
}

#[test]
fn an_agent_asks_for_many_pages_at_once_on_one_thread() {
    run(|| {
        let server = serve(|stream| {
            let mut lines = BufReader::new(&stream).lines();
            while let Some(first) = lines.next().transpose()? {
                while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                sleep(Duration::from_millis(1));
                write!(&stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())?;
            }
            io::Result::Ok(())
        });
        let agent = Arc::new(Agent::with_parts(Config::default(), OnTasklets, OnTasklets));
        let askers: Vec<_> = (0..20)
            .map(|number| {
                let agent = Arc::clone(&agent);
                spawn(move || {
                    for round in 0..10 {
                        let url = format!("http://localhost:{}/{number}/{round}", server.port());
                        let page = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
                        assert_eq!(page, format!("/{number}/{round}"));
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
}
