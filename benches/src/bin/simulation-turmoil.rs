//! The same in turmoil, which simulates tokio's sockets, with the same latencies.

use std::time::Duration;

use overlapped_benches::Laps;
use overlapped_benches::simulation::{ECHOES, SCHEDULES, print};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Result};

async fn serve() -> Result {
    let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut room = [0; 64];
            while let Ok(count) = stream.read(&mut room).await
                && count > 0
            {
                stream.write_all(&room[..count]).await.unwrap();
            }
        });
    }
}

async fn ask() -> Result {
    let mut stream = TcpStream::connect(("server", 80)).await?;
    for _ in 0..ECHOES {
        stream.write_all(b"question").await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"question");
    }
    Ok(())
}

fn main() {
    let mut laps = Laps::of(SCHEDULES);
    let (mut seed, mut passed, mut runs) = (0, Duration::ZERO, 0);
    while laps.more() {
        for _ in 0..SCHEDULES {
            let mut builder = Builder::new();
            builder.rng_seed(seed);
            builder.min_message_latency(Duration::from_micros(50)).max_message_latency(Duration::from_micros(2050));
            let mut sim = builder.build();
            sim.host("server", serve);
            sim.client("one", ask());
            sim.client("other", ask());
            sim.run().unwrap();
            passed += sim.elapsed();
            seed += 1;
        }
        runs += SCHEDULES;
    }
    print(laps, passed.as_secs_f64() / f64::from(runs));
}
