//! The programs in `examples/` run, and find everything right. `cargo test` has built them.

mod support;

use std::process::Command;

use support::example;

/// Runs an example and returns the line that it prints.
fn run(name: &str, arguments: &[&str]) -> String {
    let program = example(name);
    let output = Command::new(&program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{} does not start: {error}; `cargo build --examples` builds it", program.display())
    });
    assert!(output.status.success(), "{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn echo() {
    assert!(run("echo", &[]).starts_with("echo: 100 clients, 5000 messages, 226000 bytes back as sent"));
}

#[test]
fn file_copies() {
    assert!(run("file_copies", &[]).contains("10 big and 20 small files, 30060000 bytes, copied at once"));
}

#[test]
fn chat() {
    assert!(run("chat", &[]).starts_with("chat: 50 clients have said 20 lines each, and heard 49000"));
}

#[test]
fn http_files() {
    assert!(
        run("http_files", &[]).starts_with("http files: 30 clients were given 600 files, 57039900 bytes, as they are")
    );
}

#[test]
fn crawler() {
    assert!(
        run("crawler", &[]).starts_with("crawler: 302 pages, each fetched once, at most 8 at a time; a site without")
    );
}

#[test]
fn forward() {
    assert!(run("forward", &[]).starts_with("forward: 50 connections, 10000000 bytes there and back"));
}

#[test]
fn socket_scene() {
    assert!(run("socket_scene", &[]).contains("1000 connections at once, each told \"Disconnecting you..\""));
}

#[test]
fn held_connections() {
    // Wine holds every connection of all its programs in one process, with few descriptors to spare.
    let connections = if cfg!(windows) { "500" } else { "10000" };
    let expected = format!("held connections: {connections} connections held at once on one thread");
    assert!(run("held_connections", &[connections]).starts_with(&expected));
}

#[test]
fn children() {
    let said = run("children", &[]);
    assert!(said.contains("child 49 ends") && said.contains("children: 50 children, 100 lines as they came"), "{said}");
}

#[cfg(unix)]
#[test]
fn terminal() {
    assert!(run("terminal", &[]).starts_with("terminal: 10 shells at once, each on a terminal of its own"));
}

#[test]
fn tree() {
    let said = run("tree", &[]);
    assert!(
        said.contains("of generation 3") && said.contains("tree: 7 processes in 3 generations, ended at once"),
        "{said}"
    );
}

#[test]
fn handoff() {
    let said = run("handoff", &[]);
    assert!(said.contains("1000 connections through 4 workers"), "{said}");
}

#[test]
fn agentx() {
    assert!(run("agentx", &[]).starts_with("agentx: 20 subagents, 1020 units answered, on one thread"));
}

#[test]
fn prefork() {
    let said = run("prefork", &[]);
    assert!(said.contains("100 clients with half a request each at each of 2 restarts"), "{said}");
}

#[test]
fn tls() {
    assert!(run("tls", &[]).starts_with("tls: 20 clients, 20000000 bytes back as sent"));
}

#[test]
fn websocket_echo() {
    assert!(run("websocket_echo", &[]).starts_with("websocket echo: 100 clients, 2000 messages"));
}

#[test]
#[cfg(unix)]
fn simulation() {
    assert!(run("simulation", &["200"]).starts_with("200 runs, none failed"));
}

#[cfg(feature = "tower")]
#[test]
fn static_site() {
    assert!(run("static_site", &[]).starts_with("static site: 50 clients, 1050 pages"));
}
