//! What an error of the layers below means.

use std::{error::Error as StdError, io, time::Duration};

use rustls::CertificateError as Certificate;

use super::Roots;
use crate::{Error, ErrorKind};

/// The error and all its sources, those inside of I/O errors too.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        }
    })
}

/// The text of the deepest source: the layers above repeat that something failed, and name the whole address.
pub(super) fn deepest(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(|error| crate::clean(&error.to_string())).unwrap_or_default()
}

/// No head of an answer came.
pub(super) fn classify(error: reqwest::Error, host: &str, connect: Duration, roots: Roots) -> Error {
    let host = host.to_owned();
    let error = error.without_url();
    if let Some(tls) = chain(&error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return ErrorKind::Tls { host, source: tls_problem(tls, roots).into() }.into();
    }
    if error.is_timeout() {
        return ErrorKind::Timeout { host, waited: connect }.into();
    }
    if error.is_builder() {
        return ErrorKind::Protocol { host, problem: deepest(&error) }.into();
    }
    if let Some(hyper) = chain(&error).find_map(|error| error.downcast_ref::<hyper::Error>())
        && hyper.is_parse()
    {
        let problem = format!("the answer is no HTTP: {}", deepest(hyper));
        return ErrorKind::Protocol { host, problem }.into();
    }
    let source =
        if error.is_dns() { format!("the name cannot be resolved: {}", deepest(&error)) } else { deepest(&error) };
    ErrorKind::Connect { host, source: source.into() }.into()
}

/// The body of an answer broke.
pub(super) fn broken(error: &reqwest::Error, host: &str) -> Error {
    let host = host.to_owned();
    ErrorKind::Connect { host, source: format!("the answer was cut: {}", deepest(error)).into() }.into()
}

fn tls_problem(error: &rustls::Error, roots: Roots) -> String {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
            other => crate::clean(&other.to_string()),
        };
    };
    match certificate {
        Certificate::UnknownIssuer if roots == Roots::Nobody => {
            "this machine has no list of trusted certificates; name one with a CA file".to_owned()
        }
        Certificate::UnknownIssuer => {
            "the certificate is of an issuer that is not trusted; name the issuer's with a CA file".to_owned()
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "the certificate is not valid yet; is the clock right?".to_owned()
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the certificate is for another host".to_owned()
        }
        Certificate::Revoked => "the certificate was revoked".to_owned(),
        other => crate::clean(&format!("the certificate is not accepted: {other}")),
    }
}
