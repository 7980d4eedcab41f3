//! Says on one line which backend the other programs run on, how it is set up, and why not a better one.

fn main() {
    let report = overlapped::run(overlapped::report).expect("a running scheduler has a port");
    let mut line = vec![report.backend.to_owned()];
    line.extend(report.setup);
    line.extend(report.refused.iter().map(|reason| format!("not used: {reason}")));
    println!("{}", line.join("; "));
}
