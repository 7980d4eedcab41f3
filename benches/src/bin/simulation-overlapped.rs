//! What a schedule of two clients and ten echoes costs in Overlapped's simulated worlds.

use std::io::{Read, Write};

use overlapped::net::{TcpListener, TcpStream};
use overlapped::sim::Simulation;
use overlapped::spawn;
use overlapped_benches::Laps;
use overlapped_benches::simulation::{ECHOES, SCHEDULES, print};

const SERVER: &str = "10.0.0.1:80";

fn scene() {
    let listener = TcpListener::bind(SERVER).unwrap();
    let server = spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            spawn(move || {
                let mut room = [0; 64];
                while let Ok(count) = stream.read(&mut room)
                    && count > 0
                {
                    stream.write_all(&room[..count]).unwrap();
                }
            });
        }
    });
    let client = || {
        let mut stream = TcpStream::connect(SERVER).unwrap();
        for _ in 0..ECHOES {
            stream.write_all(b"question").unwrap();
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"question");
        }
    };
    [spawn(client), spawn(client)].into_iter().for_each(|client| client.join().unwrap());
    server.cancel();
}

fn main() {
    let mut laps = Laps::of(SCHEDULES);
    let (mut seed, mut passed, mut runs) = (0, 0.0, 0);
    while laps.more() {
        let explored = Simulation::new().explore(seed..seed + u64::from(SCHEDULES), scene).unwrap();
        seed += u64::from(SCHEDULES);
        passed += explored.elapsed.as_secs_f64();
        runs += SCHEDULES;
    }
    print(laps, passed / f64::from(runs));
}
