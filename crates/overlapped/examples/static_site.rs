//! A site of files, served by axum on tasklets of one thread: handlers open and read files as blocking code does, and only
//! their own request waits. HTTP/1 and HTTP/2.
//!
//! ```sh
//! cargo run --release --features tower --example static_site                     # a site of its own, and its clients
//! cargo run --release --features tower --example static_site FOLDER 127.0.0.1:80  # the files of a folder, until Ctrl-C
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use axum::Router;
use axum::extract::{self, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use overlapped::ecosystem::tower::serve;
use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::{Event, fs, spawn};

const CLIENTS: usize = 50;
const PAGES: usize = 20;

/// The file of that name, which is no way out of the folder.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    name.components().all(|part| matches!(part, Component::Normal(_))).then(|| folder.join(name))
}

fn kind_of(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

async fn page(State(folder): State<PathBuf>, extract::Path(name): extract::Path<String>) -> Response {
    let Some(path) = inside(&folder, &name) else { return StatusCode::NOT_FOUND.into_response() };
    match fs::read(&path) {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind_of(&path))], bytes).into_response(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn site(folder: PathBuf) -> Router {
    let index = async |folder: State<PathBuf>| page(folder, extract::Path("index.html".to_owned())).await;
    Router::new().route("/", get(index)).route("/{*name}", get(page)).with_state(folder)
}

/// Asks for every page, each on a connection of its own.
fn browse(server: SocketAddr, pages: &[(String, String)]) -> io::Result<usize> {
    let mut bytes = 0;
    for (name, text) in pages {
        let mut stream = TcpStream::connect(server)?;
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200 OK") || !answer.ends_with(text.as_str()) {
            return Err(io::Error::other(format!("{name} came as {answer}")));
        }
        bytes += text.len();
    }
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    overlapped::run(|| {
        if let [folder, address] = &arguments[..] {
            let listener = TcpListener::bind(address)?;
            println!("the files of {folder} on http://{}/", listener.local_addr()?);
            serve(listener, site(fs::canonicalize(folder)?)).run();
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let mut pages = vec![(String::new(), "<h1>The index</h1>".to_owned())];
        fs::write(folder.path().join("index.html"), &pages[0].1)?;
        for number in 0..PAGES {
            let (name, text) =
                (format!("page{number}.txt"), format!("This is page {number}. ").repeat(number * 20 + 1));
            fs::write(folder.path().join(&name), &text)?;
            pages.push((name, text));
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (server, stop) = (listener.local_addr()?, Event::new());
        let (router, stopped) = (site(folder.path().to_owned()), stop.clone());
        let serving =
            spawn(move || serve(listener, router).with_graceful_shutdown(async move { stopped.wait() }).run());
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let pages = pages.clone();
                spawn(move || browse(server, &pages))
            })
            .collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        stop.set();
        serving.join()?;
        let (count, seconds) = (CLIENTS * pages.len(), start.elapsed().as_secs_f64());
        println!("static site: {CLIENTS} clients, {count} pages, {bytes} bytes as they are on disk, in {seconds:.3} s");
        Ok(())
    })
}
