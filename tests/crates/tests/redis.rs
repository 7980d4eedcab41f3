//! redis opens its own connections, which block the thread; but its commands and its parser do no I/O, and its `Commands` are
//! anybody's who sends and receives: `ConnectionLike`, here over any stream.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use overlapped::net::TcpStream;
use overlapped::{sleep, spawn};
use overlapped_with_crates::{run, serve};
use redis::{Commands, ConnectionLike, Parser, RedisResult, Value};

struct Connection<S> {
    stream: S,
    /// It has what came after the last answer.
    parser: Parser,
    is_open: bool,
}

impl<S: Read + Write> Connection<S> {
    fn new(stream: S) -> Connection<S> {
        Connection { stream, parser: Parser::new(), is_open: true }
    }

    fn receive(&mut self) -> RedisResult<Value> {
        let answer = self.parser.parse_value(&mut self.stream);
        // An answer that was left in the middle would be taken for the next one's.
        self.is_open &= answer.is_ok();
        answer
    }
}

impl<S: Read + Write> ConnectionLike for Connection<S> {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.stream.write_all(command)?;
        self.receive()?.extract_error()
    }

    fn req_packed_commands(&mut self, commands: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.stream.write_all(commands)?;
        let mut answers = Vec::with_capacity(count);
        for number in 0..offset + count {
            let answer = self.receive()?;
            if number >= offset {
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").query::<()>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}

/// A word of the client's, which comes as "$<length>\r\n<bytes>\r\n".
fn words(stream: &mut impl io::BufRead) -> io::Result<Option<Vec<String>>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let count: usize = line.trim_end().trim_start_matches('*').parse().map_err(io::Error::other)?;
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        stream.read_line(&mut line)?;
        line.clear();
        stream.read_line(&mut line)?;
        words.push(line.trim_end().to_owned());
    }
    Ok(Some(words))
}

/// A server of a few commands, in tasklets.
fn small_server() -> std::net::SocketAddr {
    serve(|stream| {
        let mut input = io::BufReader::new(&stream);
        while let Some(words) = words(&mut input)? {
            let answer = match &*words[0] {
                "PING" => "+PONG\r\n".to_owned(),
                "ECHO" => format!("${}\r\n{}\r\n", words[1].len(), words[1]),
                _ => "-ERR no such command\r\n".to_owned(),
            };
            // Byte by byte: an answer may come in any pieces.
            answer.as_bytes().chunks(1).try_for_each(|byte| (&stream).write_all(byte))?;
        }
        io::Result::Ok(())
    })
}

#[test]
fn commands_and_pipelines_of_many_clients_are_answered_at_once() {
    run(|| {
        let server = small_server();
        let clients: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    let mut redis = Connection::new(TcpStream::connect(server).unwrap());
                    for round in 0..10 {
                        let said: String =
                            redis::cmd("ECHO").arg(format!("{number}:{round}")).query(&mut redis).unwrap();
                        assert_eq!(said, format!("{number}:{round}"));
                    }
                    let piped: Vec<String> =
                        redis::pipe().cmd("ECHO").arg("one").cmd("ECHO").arg("two").query(&mut redis).unwrap();
                    assert_eq!(piped, ["one", "two"]);
                    let refused = redis.get::<_, String>("key").unwrap_err();
                    assert!(refused.to_string().contains("no such command"), "{refused}");
                    assert!(redis.check_connection() && redis.is_open());
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// With the server that people use: one tasklet waits in a command that blocks, another's command wakes it.
#[cfg(unix)]
#[test]
fn a_command_that_blocks_at_a_real_server_blocks_its_tasklet_alone() {
    let folder = std::env::temp_dir().join(format!("overlapped-redis-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("socket");
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .current_dir(&folder)
        .stdout(Stdio::null())
        .spawn();
    let mut server =
        server.unwrap_or_else(|error| panic!("redis-server is missing: apt-get install redis-server ({error})"));
    run(|| {
        let connect = || {
            loop {
                match overlapped::net::UnixStream::connect(&socket) {
                    Ok(stream) => return Connection::new(stream),
                    // It is still starting.
                    Err(_) => sleep(Duration::from_millis(10)),
                }
            }
        };
        let (mut waits, mut pushes) = (connect(), connect());
        let waiter = spawn(move || waits.blpop::<_, (String, String)>("list", 0.0).unwrap());
        let waiting = || -> String { redis::cmd("CLIENT").arg("LIST").query(&mut connect()).unwrap() };
        while !waiting().contains("cmd=blpop") {
            sleep(Duration::from_millis(5));
        }
        pushes.rpush::<_, _, ()>("list", "value").unwrap();
        assert_eq!(waiter.join().unwrap(), ("list".to_owned(), "value".to_owned()));
    });
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
