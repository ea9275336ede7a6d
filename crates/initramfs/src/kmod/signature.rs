//! The signature behind a module (`include/linux/module_signature.h`, `scripts/sign-file.c`): a PKCS#7 message, a fixed
//! block that says how long it is, and a line of text.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt::{self, Write as _};

use imgcore::Report;

use crate::rules::{self, finding};

use super::{
    Step,
    der::{INTEGER, OBJECT, OCTET_STRING, SEQUENCE, SET, Value, Values},
    unpack::Unpacked,
};

pub(super) const MAGIC: &[u8] = b"~Module signature appended~\n";
/// Bytes of `struct module_signature`.
pub(super) const BLOCK: usize = 12;
/// Bytes of a signature that are read; with RSA-4096 and its certificate it has 2 KiB, with ML-DSA some 8.
const LIMIT: u64 = 1 << 20;
/// Content type `signedData`, 1.2.840.113549.1.7.2.
pub(super) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `commonName`, 2.5.4.3.
pub(super) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `[0]`, as a structure and as a plain value.
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_0_PLAIN: u8 = 0x80;

/// Hash functions by the content of their object identifier.
const HASHES: [(&[u8], &str); 11] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05], "md5"),
    (&[0x2b, 0x0e, 0x03, 0x02, 0x1a], "sha1"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04], "sha224"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], "sha256"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], "sha384"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], "sha512"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08], "sha3-256"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09], "sha3-384"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a], "sha3-512"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0b], "shake128"),
    (&[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x11], "sm3"),
];

/// Hash functions by their number in the block, for signatures that are no PKCS#7.
const BLOCK_HASHES: [&str; 9] = ["md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3"];

/// What kind of message a signature is (`enum pkey_id_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdType {
    /// With an OpenPGP key.
    Pgp,
    /// With the raw key identifier of a certificate; kernels before 4.3.
    X509,
    /// PKCS#7, which is the only one that kernels since 4.3 take.
    Pkcs7,
}

/// The signature behind a module. It is read, not checked: that takes the kernel's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature {
    /// What kind of message it is.
    pub id_type: IdType,
    /// Name of the hash function, if it is known.
    pub hash: Option<&'static str>,
    /// Whose it is.
    pub signer: Signer,
    /// Bytes of the message, the block and the line behind the module.
    pub size: u64,
}

/// Whose a signature is: issuer and serial number of a certificate, or its key identifier.
///
/// A kernel that accepts the signature holds that certificate as it is, uncompressed in its `Image`. So
/// [`certificate_text`](Self::certificate_text) is found there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Signer {
    /// The issuer's name in DER, as it stands in the certificate; empty if the signature does not say.
    pub issuer: Vec<u8>,
    /// Content of the serial number, as it stands in the certificate; empty if the signature does not say.
    pub serial: Vec<u8>,
    /// The subject's key identifier; empty if the signature does not say.
    pub key_id: Vec<u8>,
    /// The issuer's common name.
    pub name: Option<String>,
}

impl Signer {
    /// Bytes that the certificate holds and hardly anything else does: its serial number or key identifier in DER, with
    /// tag and length. `None` if neither is known or it has fewer than 8 bytes, which anything may hold.
    pub fn certificate_text(&self) -> Option<Vec<u8>> {
        let (tag, content) = match (&self.serial, &self.key_id) {
            (serial, _) if !serial.is_empty() => (INTEGER, serial),
            (_, key_id) => (OCTET_STRING, key_id),
        };
        let length = u8::try_from(content.len()).ok().filter(|length| (8..0x80).contains(length))?;
        Some([&[tag, length], content.as_slice()].concat())
    }
}

/// `Debian Secure Boot Signer (75:0b:…)`.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = if self.serial.is_empty() { &self.key_id } else { &self.serial };
        let mut hex = String::new();
        for byte in id.iter().take(32) {
            let _ = write!(hex, "{}{byte:02x}", if hex.is_empty() { "" } else { ":" });
        }
        // A name is foreign text.
        let name = self.name.as_deref().unwrap_or("unnamed signer").escape_debug();
        write!(f, "{name} ({hex})")
    }
}

/// Reads the signature behind a module, if there is one.
pub(super) fn read(data: &Unpacked<'_>, report: &mut Report) -> Step<Option<Signature>> {
    let tail = (MAGIC.len() as u64).saturating_add(BLOCK as u64);
    let Some(start) = data.size.checked_sub(tail) else { return Ok(None) };
    let bytes = data.part(&(start..data.size))?;
    let Some((block, MAGIC)) = bytes.split_at_checked(BLOCK) else { return Ok(None) };
    let signature = match *block {
        [algorithm, hash, id_type, signer, key_id, _, _, _, s0, s1, s2, s3] => {
            let block = Block { algorithm, hash, id_type, signer, key_id };
            message(data, start, &block, u32::from_be_bytes([s0, s1, s2, s3]))?
        }
        _ => None,
    };
    if signature.is_none() {
        let message = "a signature stands behind the module, but it is damaged";
        let help = "sign the module again: `scripts/sign-file sha512 KEY CERTIFICATE MODULE`";
        report.push(finding(rules::MOD_SIGNATURE, message).at(start..data.size).help(help));
    }
    Ok(signature)
}

/// `struct module_signature` without its length.
struct Block {
    algorithm: u8,
    hash: u8,
    id_type: u8,
    signer: u8,
    key_id: u8,
}

fn message(data: &Unpacked<'_>, end: u64, block: &Block, length: u32) -> Step<Option<Signature>> {
    let (signer, key_id, length) = (u64::from(block.signer), u64::from(block.key_id), u64::from(length));
    let before = signer.saturating_add(key_id).saturating_add(length);
    let Some(start) = end.checked_sub(before).filter(|_| length > 0 && before <= LIMIT) else { return Ok(None) };
    let bytes = data.part(&(start..end))?;
    let size = before.saturating_add(BLOCK as u64).saturating_add(MAGIC.len() as u64);
    if block.id_type == 2 {
        let at = usize::from(block.signer).saturating_add(usize::from(block.key_id));
        let Some((hash, signer)) = pkcs7(bytes.get(at..).unwrap_or_default()) else { return Ok(None) };
        return Ok(Some(Signature { id_type: IdType::Pkcs7, hash, signer, size }));
    }
    let id_type = match (block.algorithm, block.id_type) {
        (0 | 1, 0) => IdType::Pgp,
        (0 | 1, 1) => IdType::X509,
        _ => return Ok(None),
    };
    let (name, rest) = bytes.split_at_checked(usize::from(block.signer)).unwrap_or_default();
    let signer = Signer {
        name: (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()),
        key_id: rest.get(..usize::from(block.key_id)).unwrap_or_default().to_vec(),
        ..Signer::default()
    };
    Ok(Some(Signature { id_type, hash: BLOCK_HASHES.get(usize::from(block.hash)).copied(), signer, size }))
}

/// Hash and signer of the first signature in a PKCS#7 message (RFC 5652, §5).
fn pkcs7(bytes: &[u8]) -> Option<(Option<&'static str>, Signer)> {
    let mut content = Values(bytes).expect(SEQUENCE)?.inside();
    content.expect(OBJECT).filter(|kind| kind.content == SIGNED_DATA)?;
    let mut signed = content.expect(CONTEXT_0)?.inside().expect(SEQUENCE)?.inside();
    signed.expect(INTEGER)?;
    signed.expect(SET)?;
    signed.expect(SEQUENCE)?;
    // Certificates [0] and revocation lists [1] may stand between.
    let mut signer = signed.find(|value| value.tag == SET)?.inside().expect(SEQUENCE)?.inside();
    signer.expect(INTEGER)?;
    let whose = signer.next()?;
    let hash = signer.expect(SEQUENCE)?.inside().expect(OBJECT)?;
    let hash = HASHES.iter().find(|(id, _)| *id == hash.content).map(|(_, name)| *name);
    let whose = match whose.tag {
        SEQUENCE => {
            let mut parts = whose.inside();
            let (issuer, serial) = (parts.expect(SEQUENCE)?, parts.expect(INTEGER)?);
            Signer {
                issuer: issuer.whole.to_vec(),
                serial: serial.content.to_vec(),
                name: common_name(issuer),
                ..Signer::default()
            }
        }
        CONTEXT_0_PLAIN => Signer { key_id: whose.content.to_vec(), ..Signer::default() },
        _ => return None,
    };
    Some((hash, whose))
}

/// The common name in a distinguished name, else its last part.
fn common_name(name: Value<'_>) -> Option<String> {
    let parts = name.inside().flat_map(Value::inside).filter_map(|part| {
        let mut pair = part.inside();
        Some((pair.expect(OBJECT)?.content, pair.next()?.content))
    });
    let parts: Vec<_> = parts.collect();
    let common = parts.iter().find(|(kind, _)| *kind == COMMON_NAME).or(parts.last());
    common.map(|(_, text)| String::from_utf8_lossy(text).into_owned())
}
