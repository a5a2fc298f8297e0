//! Certificates of an authority of the feed's own, good ones and wrong ones.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::faults::Fault;

/// The names that good certificates hold.
const NAMES: [&str; 6] = ["localhost", "127.0.0.1", "::1", "demo.test", "*.demo.test", "*.localhost"];
/// The name that the wrong one holds.
const WRONG: &str = "other.example";
/// How long certificates were valid: before and after every sane clock.
const FROM: (i32, u8, u8) = (2020, 1, 1);
const UNTIL: (i32, u8, u8) = (2120, 1, 1);
/// When the expired one expired.
const EXPIRED: (i32, u8, u8) = (2021, 1, 1);

/// Certificates to answer with.
#[derive(Clone)]
pub(super) struct Certificates {
    /// The authority's certificate, as whoever checks needs it.
    pub(super) ca_pem: String,
    good: TlsAcceptor,
    expired: TlsAcceptor,
    wrong_name: TlsAcceptor,
    unknown_ca: TlsAcceptor,
}

impl Certificates {
    /// Makes an authority, and certificates of it and of another.
    pub(super) fn make() -> anyhow::Result<Self> {
        let (ca, other) = (authority("aNode demo feed CA")?, authority("somebody else's CA")?);
        let names = NAMES.map(str::to_owned).to_vec();
        Ok(Self {
            ca_pem: ca.pem(),
            good: acceptor(&ca, &names, UNTIL)?,
            expired: acceptor(&ca, &names, EXPIRED)?,
            wrong_name: acceptor(&ca, &[WRONG.to_owned()], UNTIL)?,
            unknown_ca: acceptor(&other, &names, UNTIL)?,
        })
    }

    /// The acceptor for a fault of TLS; the good one where there is none.
    pub(super) fn acceptor(&self, fault: Option<&Fault>) -> &TlsAcceptor {
        match fault {
            Some(Fault::Expired) => &self.expired,
            Some(Fault::WrongName) => &self.wrong_name,
            Some(Fault::UnknownCa) => &self.unknown_ca,
            _ => &self.good,
        }
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    valid(&mut params, UNTIL);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("cannot make a CA")
}

/// Sets the time for which a certificate is valid.
fn valid(params: &mut CertificateParams, (year, month, day): (i32, u8, u8)) {
    params.not_before = rcgen::date_time_ymd(FROM.0, FROM.1, FROM.2);
    params.not_after = rcgen::date_time_ymd(year, month, day);
}

fn acceptor(
    ca: &CertifiedIssuer<'_, KeyPair>,
    names: &[String],
    until: (i32, u8, u8),
) -> anyhow::Result<TlsAcceptor> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "aNode demo feed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, until);
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.signed_by(&key, ca)?.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// A handshake with one who trusts the authority; what is wrong, as the client says it.
    async fn shake(certificates: &Certificates, fault: Option<Fault>, name: &str) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let (near, far) = tokio::io::duplex(16 << 10);
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let accepting = certificates.acceptor(fault.as_ref()).accept(far);
        let (client, _) = tokio::join!(connector.connect(name, near), accepting);
        client.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn it_has_good_and_wrong_certificates() {
        let certificates = Certificates::make().unwrap();
        for name in ["127.0.0.1", "localhost", "demo.test", "a.demo.test"] {
            assert_eq!(shake(&certificates, None, name).await, Ok(()), "{name}");
        }
        for (fault, word) in
            [(Fault::Expired, "expired"), (Fault::WrongName, "name"), (Fault::UnknownCa, "UnknownIssuer")]
        {
            let error = shake(&certificates, Some(fault), "127.0.0.1").await.unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
