//! Encrypted connections: whose certificates are trusted.

use crate::trouble::reason;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io;
use std::path::{Path, PathBuf};

/// Those that the system trusts, where Debian has them.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes what checks certificates against those in a file, and no others.
pub(super) fn connector(file: Option<&PathBuf>) -> Result<RustlsConnector, String> {
    let file = file.map_or(Path::new(SYSTEM), PathBuf::as_path);
    let unable = |why: &str| format!("unable to read certificates in {}: {why}", file.display());
    let text = std::fs::read(file).map_err(|why| unable(&reason(&why)))?;
    let all: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|why| unable(&why.to_string()))?;
    if all.is_empty() {
        return Err(unable("there are none; they are in PEM, as \"-----BEGIN CERTIFICATE-----\""));
    }
    let trusted = RustlsConnectorConfig::default().with_parsable_certificates(all);
    trusted.connector_with_no_client_auth().map_err(|why| unable(&why.to_string()))
}

/// Encrypts a connection, once the certificate of whoever is there is found good for this host.
pub(super) async fn encrypted<S>(
    plain: AsyncTcpStream<S>,
    connector: &RustlsConnector,
    host: &str,
) -> io::Result<AsyncTcpStream<S>>
where
    S: futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static,
{
    plain.into_rustls(connector, host).await.map_err(|why| {
        let why_said = reason(&why);
        let hint = "broker.ca must have who signed its certificate, which must name the host";
        // Somebody who has a certificate speaks TLS.
        let port = if why_said.contains("certificate") {
            ""
        } else {
            "the port may not be one for TLS, as 5671 is; "
        };
        io::Error::new(why.kind(), format!("no encrypted connection: {why_said}; {port}{hint}"))
    })
}
