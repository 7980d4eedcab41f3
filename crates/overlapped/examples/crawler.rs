//! A crawler: follows the links of a site from one page on and asks for each page once, some at a time, until there are no more
//! or the time is up. Some tasklets fetch, one keeps the book, and two queues are between them.
//!
//! ```sh
//! cargo run --release --example crawler                              # two sites of its own
//! cargo run --release --example crawler http://127.0.0.1:8000/ 20    # a site, for at most 20 seconds
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::sync::mpmc;
use overlapped::{is_cancelled, scope, spawn, timeout};

/// So many pages are fetched at once.
const AT_ONCE: usize = 8;

/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest page, in bytes; of a longer one, the beginning is looked at.
const LONGEST: u64 = 1 << 20;

/// What became of a page: its status, or why it did not come, and the pages to which it leads.
struct Page {
    path: String,
    status: Result<u16, String>,
    links: Vec<String>,
}

/// Fetches a page, by HTTP/1.0 (RFC 1945): the server closes the connection after it.
fn fetch(site: &str, path: &str) -> io::Result<(u16, Vec<String>)> {
    let mut stream = TcpStream::connect(site)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {site}\r\n\r\n")?;
    let mut answer = BufReader::new(stream.take(LONGEST));
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no answer of HTTP's"))?;
    let (mut links, mut is_html) = (Vec::new(), false);
    loop {
        line.clear();
        answer.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, target)) if name.eq_ignore_ascii_case("location") => links.extend(resolve(site, path, target)),
            Some((name, kind)) if name.eq_ignore_ascii_case("content-type") => is_html = kind.starts_with("text/html"),
            Some(_) => {}
            None => break,
        }
    }
    if is_html {
        let mut body = Vec::new();
        answer.read_to_end(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let targets = body.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
        links.extend(targets.filter_map(|(target, _)| resolve(site, path, &target.replace("&amp;", "&"))));
    }
    Ok((status, links))
}

/// The path to which a link on the page at `path` leads; none where that is another site, or no page.
fn resolve(site: &str, path: &str, target: &str) -> Option<String> {
    let target = target.split('#').next()?;
    let target = match target.strip_prefix("http://") {
        Some(elsewhere) => elsewhere.strip_prefix(site).filter(|path| path.starts_with('/'))?,
        None => target,
    };
    let scheme = target.split(['/', '?']).next()?.contains(':');
    if target.is_empty() || target.starts_with("//") || scheme {
        return None;
    }
    let folder = path.split('?').next()?.rsplit_once('/')?.0;
    let (target, query) = target.split_once('?').map_or((target, None), |(target, query)| (target, Some(query)));
    let mut parts = Vec::new();
    let whole = if target.starts_with('/') { target.to_owned() } else { format!("{folder}/{target}") };
    for part in whole.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("/{}{query}", parts.join("/")))
}

/// Follows the links of a site from `start` on, and puts what it finds into `found`: what is there when the time is up, stays.
fn crawl(site: &str, start: &str, mut found: impl FnMut(Page)) {
    let (ask, asked) = mpmc::unbounded::<String>();
    // Whoever fetches waits where the book is behind.
    let (tell, told) = mpmc::bounded(AT_ONCE);
    scope(|s| {
        for _ in 0..AT_ONCE {
            let (asked, tell) = (asked.clone(), tell.clone());
            s.spawn(move || {
                for path in asked.iter() {
                    let fetched = timeout(PATIENCE, || fetch(site, &path));
                    let page = match fetched.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                        Ok((status, links)) => Page { path, status: Ok(status), links },
                        // The page is not to blame: it is this one that is told to end.
                        Err(error) if is_cancelled(&error) => return,
                        Err(error) => Page { path, status: Err(error.to_string()), links: Vec::new() },
                    };
                    if tell.send(page).is_err() {
                        return;
                    }
                }
            });
        }
        let mut seen = HashSet::from([start.to_owned()]);
        let mut open = Vec::from([start.to_owned()]);
        let mut under_way = 0;
        loop {
            under_way += open.len();
            if under_way == 0 {
                break;
            }
            // An error says that the time is up: then those who fetch are told as well, and the scope waits until they have ended.
            let next = open.drain(..).try_for_each(|path| ask.send(path)).ok().and_then(|()| told.receive().ok());
            let Some(page) = next else { return };
            under_way -= 1;
            open.extend(page.links.iter().filter(|link| seen.insert((*link).clone())).cloned());
            found(page);
        }
        // There are no more: each who asks for one hears so, and ends.
        drop(ask);
    });
}

/// How many clients of a site wait for an answer, and the most that did.
#[derive(Clone, Default)]
struct Waiting(Rc<(Cell<usize>, Cell<usize>)>);

impl Waiting {
    fn begin(&self) {
        let (now, most) = &*self.0;
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
    }

    fn end(&self) {
        self.0.0.update(|now| now - 1);
    }

    fn most(&self) -> usize {
        self.0.1.get()
    }
}

/// Answers each request by what `page` makes of its path; where that is nothing, never.
fn serve(page: impl Fn(&str) -> Option<String> + 'static) -> io::Result<(String, Waiting)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (site, waiting, page) = (listener.local_addr()?.to_string(), Waiting::default(), Rc::new(page));
    let theirs = waiting.clone();
    spawn(move || {
        for stream in listener.incoming() {
            let (stream, page, waiting) = (stream?, Rc::clone(&page), theirs.clone());
            waiting.begin();
            spawn(move || answer(stream, &*page, &waiting));
        }
        io::Result::Ok(())
    });
    Ok((site, waiting))
}

fn answer(stream: TcpStream, page: &impl Fn(&str) -> Option<String>, waiting: &Waiting) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    match page(first.split(' ').nth(1).unwrap_or_default()) {
        Some(answer) => {
            waiting.end();
            (&stream).write_all(answer.as_bytes())
        }
        // Until the other has had enough.
        None => (&stream).read(&mut [0]).map(drop),
    }
}

fn html(links: &[String]) -> Option<String> {
    let links: String = links.iter().map(|link| format!("<a href=\"{link}\">there</a>\n")).collect();
    Some(format!("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{links}"))
}

/// A site of so many pages, which all lead to one another, to what is not there, and elsewhere.
fn book(pages: usize) -> impl Fn(&str) -> Option<String> {
    move |path| {
        let number = path.strip_prefix("/pages/").and_then(|number| number.parse::<usize>().ok());
        match (path, number) {
            ("/", _) => Some("HTTP/1.0 302 Found\r\nLocation: /pages/0\r\n\r\n".to_owned()),
            (_, Some(number)) if number < pages => {
                let next = [1, 2, 3].map(|child| (3 * number + child) % pages);
                html(&[
                    format!("/pages/{}", next[0]),
                    format!("{}#end", next[1]),
                    format!("../pages/./{}", next[2]),
                    "/".to_owned(),
                    "#top".to_owned(),
                    "/missing".to_owned(),
                    "mailto:somebody@example.org".to_owned(),
                    "http://example.org/".to_owned(),
                ])
            }
            _ => Some("HTTP/1.0 404 Not Found\r\n\r\n".to_owned()),
        }
    }
}

/// A site where each page leads to two new ones, and the third never comes.
fn labyrinth(path: &str) -> Option<String> {
    if path == "/1/1" { None } else { html(&[format!("{path}/1"), format!("{path}/2")]) }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let Some(address) = arguments.next() {
        let (site, path) = address
            .strip_prefix("http://")
            .map(|address| address.split_once('/').unwrap_or((address, "")))
            .ok_or_else(|| io::Error::other("which site? http://HOST:PORT/"))?;
        let site = if site.contains(':') { site.to_owned() } else { format!("{site}:80") };
        let limit =
            arguments.next().and_then(|seconds| seconds.parse().ok()).map_or(Duration::MAX, Duration::from_secs);
        return overlapped::run(|| {
            let crawled = timeout(limit, || {
                crawl(&site, &format!("/{path}"), |page| match page.status {
                    Ok(status) => println!("{status} {}", page.path),
                    Err(error) => println!("--- {}: {error}", page.path),
                });
            });
            crawled.map_err(io::Error::other)
        });
    }
    overlapped::run(|| {
        let (site, waiting) = serve(book(300))?;
        let mut statuses = BTreeMap::new();
        crawl(&site, "/", |page| *statuses.entry(page.status).or_insert(0) += 1);
        assert_eq!(statuses, BTreeMap::from([(Ok(302), 1), (Ok(200), 300), (Ok(404), 1)]));
        let most = waiting.most();
        assert!(most <= AT_ONCE, "{most} at once");

        let (site, waiting) = serve(|path| labyrinth(path.trim_end_matches('/')))?;
        let found = RefCell::new(HashSet::new());
        let crawled = timeout(Duration::from_millis(200), || {
            crawl(&site, "/", |page| assert!(found.borrow_mut().insert(page.path), "a page is fetched once"));
        });
        assert!(crawled.is_err(), "it has no end");
        let most = most.max(waiting.most());
        assert!(most <= AT_ONCE, "{most} at once");
        println!(
            "crawler: 302 pages, each fetched once, at most {AT_ONCE} at a time; a site without an end was left in time"
        );
        Ok(())
    })
}
