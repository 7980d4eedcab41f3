//! A server of the files in a folder, by HTTP/1.1 (RFC 9112): GET and HEAD, connections that stay open, nothing outside of the
//! folder.
//!
//! ```sh
//! cargo run --release --example http_files                         # the server and its clients
//! cargo run --release --example http_files FOLDER 127.0.0.1:8000   # the server alone, until Ctrl-C
//! ```

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use overlapped::fs::{self, File};
use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::{spawn, timeout};

const CLIENTS: usize = 30;
const FILES: usize = 20;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 16 << 10;

/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What of a request is of interest here.
struct Request {
    method: String,
    target: String,
    closes: bool,
}

/// Reads the head of a request; `None` where there are no more.
fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = stream.take(LONGEST_HEAD).lines();
    let Some(first) = head.next().transpose()? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first line is no request"));
    };
    let mut closes = version != "HTTP/1.1";
    for line in head {
        let line = line?.to_ascii_lowercase();
        match line.split_once(':') {
            _ if line.is_empty() => return Ok(Some(Request { method, target, closes })),
            Some(("connection", value)) => closes |= value.trim() == "close",
            // A body is of no use here, and would be taken for the next request.
            Some(("content-length" | "transfer-encoding", _)) => closes = true,
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the head has no end, or is too long"))
}

/// The path that a target names within the folder.
fn path_of(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = Path::new(target.split('?').next()?.strip_prefix('/')?);
    let is_within = path.components().all(|component| matches!(component, Component::Normal(_)));
    is_within.then(|| folder.join(path))
}

/// The file that is asked for and its length, or why there is none.
fn open(folder: &Path, request: &Request) -> Result<(File, u64), &'static str> {
    if !matches!(&*request.method, "GET" | "HEAD") {
        return Err("405 Method Not Allowed");
    }
    let path = path_of(folder, &request.target).ok_or("404 Not Found")?;
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata.len())),
        _ => Err("404 Not Found"),
    }
}

fn answer(folder: &Path, request: &Request, output: &mut impl Write) -> io::Result<()> {
    match open(folder, request) {
        Ok((mut file, length)) => {
            write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            if request.method == "GET" && io::copy(&mut (&mut file).take(length), output)? < length {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
            }
        }
        Err(why) => write!(output, "HTTP/1.1 {why}\r\nContent-Length: 0\r\n\r\n")?,
    }
    output.flush()
}

fn serve(folder: &Path, stream: TcpStream) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(64 << 10, stream.try_clone()?);
    let mut input = BufReader::new(stream);
    while let Some(request) = timeout(SILENCE, || read_request(&mut input))?? {
        answer(folder, &request, &mut output)?;
        if request.closes {
            break;
        }
    }
    Ok(())
}

fn accept(folder: PathBuf, listener: &TcpListener) -> io::Result<()> {
    let folder: Rc<Path> = folder.into();
    for stream in listener.incoming() {
        let (stream, folder) = (stream?, Rc::clone(&folder));
        spawn(move || serve(&folder, stream));
    }
    Ok(())
}

/// Asks for a target, and returns the status and the body.
fn get(stream: &mut BufReader<TcpStream>, method: &str, target: &str) -> io::Result<(String, Vec<u8>)> {
    write!(stream.get_mut(), "{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status)?;
    for line in stream.by_ref().lines() {
        let line = line?;
        if let Some(number) = line.strip_prefix("Content-Length: ") {
            length = number.parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
    stream.read_exact(&mut body)?;
    Ok((status.split(' ').nth(1).unwrap_or_default().to_owned(), body))
}

/// What file `number` has in it.
fn contents(number: usize) -> Vec<u8> {
    (0..number * 10_007).map(|at| ((at + number).wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// Asks for each file, and for what there is not, on one connection. Returns how many bytes came.
fn client(server: SocketAddr) -> io::Result<usize> {
    let mut stream = BufReader::new(TcpStream::connect(server)?);
    let mut bytes = 0;
    for number in 0..FILES {
        let (status, body) = get(&mut stream, "GET", &format!("/files/{number}"))?;
        assert!(status == "200" && body == contents(number), "file {number}: {status}, {} bytes", body.len());
        bytes += body.len();
    }
    for (method, target, expected) in [
        ("HEAD", "/files/3", "200"),
        ("GET", "/files", "404"),
        ("GET", "/secret", "404"),
        ("GET", "/files/../../secret", "404"),
        ("GET", "//etc/hostname", "404"),
        ("DELETE", "/files/3", "405"),
    ] {
        assert_eq!(get(&mut stream, method, target)?, (expected.to_owned(), Vec::new()), "{method} {target}");
    }
    Ok(bytes)
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let Some(folder) = arguments.next() {
        return overlapped::run(|| {
            let listener = TcpListener::bind(arguments.next().as_deref().unwrap_or("127.0.0.1:8000"))?;
            println!("the files of {folder} on http://{}", listener.local_addr()?);
            accept(folder.into(), &listener)
        });
    }
    let folder = tempfile::tempdir()?;
    overlapped::run(|| {
        let served = folder.path().join("served");
        fs::create_dir_all(served.join("files"))?;
        fs::write(folder.path().join("secret"), b"not to be served")?;
        for number in 0..FILES {
            fs::write(served.join(format!("files/{number}")), contents(number))?;
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr()?;
        spawn(move || accept(served, &listener));
        let clients: Vec<_> = (0..CLIENTS).map(|_| spawn(move || client(server))).collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        println!("http files: {CLIENTS} clients were given {} files, {bytes} bytes, as they are", CLIENTS * FILES);
        Ok(())
    })
}
