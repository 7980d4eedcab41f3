//! The two sides of TLS, with a certificate that one shows and the other believes.

use std::sync::{Arc, OnceLock};

#[cfg(feature = "rustls")]
use overlapped::reactor::Tls;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate for `localhost`, and its key.
pub(crate) fn own() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static MADE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.der().to_vec(), made.signing_key.serialize_der())
    });
    (certificate.clone().into(), PrivateKeyDer::try_from(key.clone()).unwrap())
}

/// Who believes it.
pub(crate) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(own().0).unwrap();
    roots
}

pub(crate) fn server_config() -> ServerConfig {
    let (certificate, key) = own();
    ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

#[cfg(feature = "rustls")]
pub(crate) fn server() -> Tls {
    Tls::server(Arc::new(server_config()))
}

pub(crate) fn client_config() -> ClientConfig {
    client_config_of(rustls::ALL_VERSIONS)
}

/// A client's that knows these versions of the protocol.
pub(crate) fn client_config_of(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots()).with_no_client_auth()
}

#[cfg(feature = "rustls")]
pub(crate) fn client_of(config: ClientConfig) -> Tls {
    Tls::client(Arc::new(config), "localhost".try_into().unwrap())
}

#[cfg(feature = "rustls")]
pub(crate) fn client() -> Tls {
    client_of(client_config())
}
