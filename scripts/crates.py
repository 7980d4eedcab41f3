"""The Rust crates, as cargo is asked to test them: always with the same features, so that each is built once."""

PORT = ["--package", "overlapped-port"]
FACE = ["--package", "overlapped", "--features", "rustls,tower,futures-io,tracing"]
