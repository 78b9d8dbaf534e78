//! Transport identities: TLS 1.3 with raw public keys (RFC 7250), pinned to the registry (docs/decisions/0005).
//!
//! A peer *is* its key: there is no certificate authority and nothing to expire besides the registry. This module is
//! the only one that names `rustls`.
//!
//! Systems that are no members know nothing of that registry: towards them the gateway has a certificate, and looks at
//! theirs ([`https_server`], [`https_client`]).

use std::{path::Path, sync::Arc};

use crypto::{
    secret::Secret,
    sign::{PublicKey, SigningKey},
};
use exchange::wire::ALPN;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
        pem::PemObject,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
pub use tokio_rustls::TlsAcceptor;
use tokio_rustls::{TlsConnector, client::TlsStream as ClientStream};

use crate::Problem;

/// DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER of an Ed25519 PKCS#8 key up to the seed (RFC 8410 §7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The public key of a transport seed.
pub fn public_key(seed: &Secret) -> PublicKey {
    PublicKey(SigningKey::from_seed(seed).verifying_key().to_bytes())
}

/// The key a peer has proved to hold in the handshake of a connection.
pub fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(identity.first()?)
}

/// Server side: every client proves a key; who that is, and whether it may ask, is decided per frame against the
/// registry in force.
pub fn server(seed: &Secret) -> Result<quinn::ServerConfig, Problem> {
    let provider = Arc::new(ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Problem::fault(e.to_string()))?
        .with_client_cert_verifier(Arc::new(AnyKey(provider.signature_verification_algorithms)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(seed)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // No 0-RTT: a question must not be replayable by the network.
    config.max_early_data_size = 0;
    let config = QuicServerConfig::try_from(config).map_err(|e| Problem::fault(e.to_string()))?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(config)))
}

/// Client side, towards the peer that holds one of `peer`: its key, or while it goes over to another one, either.
pub fn client(seed: &Secret, peer: &[PublicKey]) -> Result<quinn::ClientConfig, Problem> {
    let config =
        QuicClientConfig::try_from(towards(seed, peer)?).map_err(|e| Problem::fault(e.to_string()))?;
    Ok(quinn::ClientConfig::new(Arc::new(config)))
}

/// The TLS of [`client`]. Early data is off, as it is unless told.
pub(crate) fn towards(seed: &Secret, peer: &[PublicKey]) -> Result<rustls::ClientConfig, Problem> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Problem::fault(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneOf(peer.to_vec(), algorithms)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(seed)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// TLS of the gateway, from a certificate chain and its key in PEM.
pub fn https_server(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Problem> {
    let no = |path: &Path, why: String| {
        Problem::new(
            format!("{}: {why}", path.display()),
            "give PEM files of a certificate and of its private key under [gateway] in node.toml",
            "请在 node.toml 的 [gateway] 中提供 PEM 格式的证书及其私钥文件",
        )
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|e| no(certificate, format!("{e:?}")))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| no(key, format!("{e:?}")))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Problem::fault(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| no(certificate, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // No 0-RTT: a question must not be replayable by the network.
    config.max_early_data_size = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS towards a receiver of webhooks whose certificate leads to one of the authorities in a PEM file.
pub fn https_client(authorities: &Path) -> Result<TlsConnector, String> {
    let no = |why: String| format!("{}: {why}", authorities.display());
    let mut roots = rustls::RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(authorities).map_err(|e| no(format!("{e:?}")))?;
    for certificate in found {
        roots.add(certificate.map_err(|e| no(format!("{e:?}")))?).map_err(|e| no(e.to_string()))?;
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A TLS connection to `host` over an open stream.
pub async fn https_connect(
    connector: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> Result<ClientStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    connector.connect(name, stream).await.map_err(|e| e.to_string())
}

fn certified(seed: &Secret) -> Result<Arc<CertifiedKey>, Problem> {
    let private = [&PKCS8[..], seed.expose()].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private))
        .map_err(|e| Problem::fault(e.to_string()))?;
    let public = [&SPKI[..], &public_key(seed).0].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key)))
}

fn key_of(spki: &[u8]) -> Option<PublicKey> {
    spki.strip_prefix(&SPKI[..])?.try_into().ok().map(PublicKey)
}

fn check_signature(
    message: &[u8],
    spki: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(spki.as_ref()),
        dss,
        algorithms,
    )
}

/// TLS 1.2 is not offered, so a signature of it is misbehaviour.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite))
}

/// Accepts any client that proves an Ed25519 key.
#[derive(Debug)]
struct AnyKey(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = key_of(key).map(|_| ClientCertVerified::assertion());
        known.ok_or(Error::InvalidCertificate(rustls::CertificateError::BadEncoding))
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, key, dss, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts the one server that proves one of these keys.
#[derive(Debug)]
struct OneOf(Vec<PublicKey>, WebPkiSupportedAlgorithms);

impl ServerCertVerifier for OneOf {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if key_of(key).is_some_and(|key| self.0.contains(&key)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
        }
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, key, dss, &self.1)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// For `localhost`, by `openssl req -x509 -newkey ec`, valid for a hundred years and used here only.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBmDCCAT6gAwIBAgIUAmqEeeE2skxxRB4oQe9L+l1R/IEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTA0MjM1M1oYDzIxMjYxMTAx
MDQyMzUzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARl2Ef5nWMXHNs2wZoaxCRkAIOS+liKqwkdS1rLwuMP7Xi6K9a1mi1O
PCK5w+r4BERFLv+cmQGiHqk0+fmRf96lo2wwajAdBgNVHQ4EFgQU1BnP/Y/jcKu6
+aPlvm35Vgao130wHwYDVR0jBBgwFoAU1BnP/Y/jcKu6+aPlvm35Vgao130wGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0E
AwIDSAAwRQIgF67w/b1ULknv890rFZPlNbQOn1ngOeGmOoh94V92UJ0CIQCkYfuU
qhqgb3vMG5EyUKsoXMXVHbvBTSQP/Jgz3kYENA==
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1W183dBNRO6k6Onb
IA3LwVJXEzroubyJUbtgbN16A/ShRANCAARl2Ef5nWMXHNs2wZoaxCRkAIOS+liK
qwkdS1rLwuMP7Xi6K9a1mi1OPCK5w+r4BERFLv+cmQGiHqk0+fmRf96l
-----END PRIVATE KEY-----
";

    #[tokio::test]
    async fn the_gateway_s_tls_is_believed_by_its_authority_and_its_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("certificate"), dir.path().join("key"));
        std::fs::write(&certificate, CERTIFICATE).unwrap();
        std::fs::write(&key, KEY).unwrap();
        assert!(https_server(&key, &certificate).is_err());
        let acceptor = https_server(&certificate, &key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"hello").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        let connector = https_client(&certificate).unwrap();
        let connect = || TcpStream::connect(address);
        let mut stream = https_connect(&connector, "localhost", connect().await.unwrap()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        assert!(https_connect(&connector, "bank.example", connect().await.unwrap()).await.is_err());
        let nobody = dir.path().join("nobody");
        std::fs::write(&nobody, "").unwrap();
        let strangers = https_client(&nobody).unwrap();
        assert!(https_connect(&strangers, "localhost", connect().await.unwrap()).await.is_err());
    }
}
