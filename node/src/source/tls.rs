//! TLS towards upstreams: whom the node trusts, and what is wrong with a certificate in words that help.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tracing::{debug, warn};
use url::{Host, Url};

/// The protocol that upstreams are asked to speak: requests and WebSockets both begin with it.
const ALPN: &[u8] = b"http/1.1";

/// Makes the TLS client: the system's CAs, those of Mozilla where the system has none, and the CAs in `extra`.
///
/// # Errors
/// When `extra` cannot be read or holds no certificate.
pub fn client(extra: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        debug!(%error, "Passed over a system CA");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        warn!(
            "The system has no CA certificates; Mozilla's, as of this version of anode, are trusted instead"
        );
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = extra {
        add(&mut roots, path)
            .with_context(|| format!("cannot take CA certificates from {}", path.display()))?;
    }
    with_roots(roots)
}

/// Makes a TLS client that trusts `roots` alone.
///
/// # Errors
/// Never in practice: the provider knows the protocol versions.
pub fn with_roots(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    // Named here, never the process's default: other libraries bring a second provider into the binary.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn add(roots: &mut RootCertStore, path: &Path) -> anyhow::Result<()> {
    let mut added = 0;
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
        added += 1;
    }
    anyhow::ensure!(added > 0, "it holds no PEM certificate (-----BEGIN CERTIFICATE-----)");
    Ok(())
}

/// The name that the certificate of a URL's host must bear.
pub(super) fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ServerName::IpAddress(ip.into())),
        Host::Ipv6(ip) => Some(ServerName::IpAddress(ip.into())),
        Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()).ok(),
    }
}

/// What went wrong in a handshake with `host`.
pub(super) fn explain(error: &io::Error, host: &str) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                format!("{host} closed the connection during the TLS handshake")
            }
            _ => format!("the TLS handshake with {host} failed: {error}"),
        };
    };
    match tls {
        Error::InvalidCertificate(why) => certificate(why, host),
        Error::InvalidMessage(_) => {
            format!(
                "{host} does not speak TLS at this port; if it speaks plain HTTP there, write http:// or ws://"
            )
        }
        Error::AlertReceived(alert) => format!("{host} refused the TLS handshake ({alert:?})"),
        other => format!("the TLS handshake with {host} failed: {other}"),
    }
}

fn certificate(why: &CertificateError, host: &str) -> String {
    match why {
        CertificateError::Expired => format!("the certificate of {host} has expired"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate of {host} expired at {}", time(*not_after))
        }
        CertificateError::NotValidYet => format!("the certificate of {host} is not yet valid"),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of {host} is not valid before {}; if that is past, this machine's clock is wrong",
            time(*not_before)
        ),
        CertificateError::NotValidForName => format!("the certificate is not for {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            format!("the certificate is not for {host} but for {names}")
        }
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} comes from a CA that this machine does not know; if you trust it, start the node with --source-ca FILE"
        ),
        CertificateError::BadSignature => format!(
            "the certificate of {host} is not signed by the CA that it names, as far as this machine knows that CA; if it was made anew, start the node with --source-ca FILE"
        ),
        CertificateError::Revoked => format!("the certificate of {host} was revoked"),
        other => format!("the certificate of {host} is not valid: {other}"),
    }
}

fn time(time: UnixTime) -> String {
    let text = anode_shared::time::to_rfc3339(time.as_secs().saturating_mul(1_000_000));
    text.replace(".000000", "")
}
