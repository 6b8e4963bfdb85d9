// SPDX-License-Identifier: Apache-2.0
//! The server's long-lived key, its pin, and TLS that knows its callers by their keys.
//!
//! There is no authority here: nodes trust the pin of one key, and the server knows a node by the key of the
//! certificate that it shows. Names and dates in certificates mean nothing, since clocks are wrong before they are set.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use ring::digest;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::privileges;

mod callers;
use callers::AnyCaller;

/// Folder of key and certificate in the state folder.
pub const FOLDER: &str = "tls";
/// Name of the key in that folder.
pub const KEY: &str = "server.key";
const CERTIFICATE: &str = "server.crt";

/// The server's key and certificate.
pub struct ServerKey {
    /// SHA-256 of the `SubjectPublicKeyInfo` (DER), 64 hex digits: what nodes trust.
    pub pin: String,
    /// TLS for the API: asks for a client certificate and takes any self-signed one.
    pub tls: Arc<rustls::ServerConfig>,
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKey")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl ServerKey {
    /// The key in the state folder; made at the first start, for ever: every installed node knows its pin.
    pub fn open_or_make(state: &Path) -> Result<Self> {
        let folder = state.join(FOLDER);
        let path = folder.join(KEY);
        let key = if path
            .try_exists()
            .with_context(|| format!("looking for {}", path.display()))?
        {
            nobody_elses(&path)?;
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading the server's key {}", path.display()))?;
            KeyPair::from_pem(&text).with_context(|| format!("decoding the server's key {}", path.display()))?
        } else {
            make(&folder).with_context(|| format!("making the server's key {}", path.display()))?
        };
        Self::new(&folder, &key)
    }

    fn new(folder: &Path, key: &KeyPair) -> Result<Self> {
        let path = folder.join(CERTIFICATE);
        let pem = match fs::read(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => certify(key, &path)?,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let certificate = x509_parser::pem::Pem::read(std::io::Cursor::new(&pem))
            .with_context(|| format!("decoding {}", path.display()))?;
        let certificate = CertificateDer::from(certificate.0.contents);
        let pin = sha256(&key.subject_public_key_info());
        anyhow::ensure!(
            key_of(&certificate).as_ref() == Some(&pin),
            "{} does not belong to the key beside it; remove it, and a new one is made",
            path.display()
        );
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let tls = config(certificate, secret).context("setting up TLS")?;
        Ok(Self {
            pin,
            tls: Arc::new(tls),
        })
    }
}

/// Refuses a state folder with a key that others may read.
pub fn is_private(state: &Path) -> Result<()> {
    let path = state.join(FOLDER).join(KEY);
    if path.exists() { nobody_elses(&path) } else { Ok(()) }
}

/// Refuses a key that others may read, as ssh does: a copy of it answers as this server.
fn nobody_elses(path: &Path) -> Result<()> {
    let about = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    anyhow::ensure!(
        about.permissions().mode() & privileges::OTHERS == 0,
        "others may read the server's key {}: chmod 600 {} if nobody has; whoever has it can answer as this server",
        path.display(),
        path.display()
    );
    Ok(())
}

fn make(folder: &Path) -> Result<KeyPair> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let path = folder.join(KEY);
    // Under another name first: a key that was cut short by a full disk would be taken for the server's for ever.
    let begun = folder.join(format!("{KEY}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&begun)?;
    file.write_all(key.serialize_pem().as_bytes())?;
    file.sync_all()?;
    fs::rename(&begun, &path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

fn certify(key: &KeyPair, path: &Path) -> Result<Vec<u8>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Gleaner provisioner");
    // Long before and after any clock of a PC: only the key counts.
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let pem = params
        .self_signed(key)
        .context("signing the server's certificate")?
        .pem();
    fs::write(path, &pem).with_context(|| format!("writing {}", path.display()))?;
    Ok(pem.into_bytes())
}

/// The time, also before 1970: rustls' own clock panics there, and nothing here depends on the date.
#[derive(Debug)]
struct AnyTime;

impl TimeProvider for AnyTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(UnixTime::since_unix_epoch(since))
    }
}

fn config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<rustls::ServerConfig> {
    let provider: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let mut config = rustls::ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(AnyTime))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyCaller::new(provider)))
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would have to remember whose certificate it was; a full handshake costs a millisecond.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`, hex: who the caller is. `None` if it cannot be read.
pub fn key_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(sha256(parsed.public_key().raw))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests;
