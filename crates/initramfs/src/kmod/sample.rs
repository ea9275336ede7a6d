//! Kernel modules of our own that do nothing, for demonstrations and tests.

use super::{
    der, machine,
    signature::{COMMON_NAME, MAGIC, SIGNED_DATA},
};

/// What a made module says; [`build`](Self::build) gives its file. It holds no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its name.
    pub name: &'a str,
    /// Release and flags of the kernel, `6.18.2 SMP mod_unload aarch64` say; none if empty.
    pub vermagic: &'a str,
    /// More of `.modinfo`: `alias=of:N*T*Cvendor,board`, `softdep=pre: other`.
    pub info: &'a [&'a str],
    /// Symbols that it exports.
    pub exports: &'a [&'a str],
    /// Symbols that it needs.
    pub needs: &'a [&'a str],
    /// With what CONFIG_MODVERSIONS adds: the CRC that each exported and needed symbol has.
    pub crc: Option<u32>,
    /// `e_machine`.
    pub machine: u16,
    /// A signature that no key has made.
    pub signature: Option<SampleSignature<'a>>,
}

/// Whose signature is pretended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSignature<'a> {
    /// The issuer's common name.
    pub name: &'a str,
    /// The serial number of the certificate.
    pub serial: &'a [u8],
}

impl Default for Sample<'_> {
    fn default() -> Self {
        Self {
            name: "sample",
            vermagic: "",
            info: &[],
            exports: &[],
            needs: &[],
            crc: None,
            machine: machine::AARCH64,
            signature: None,
        }
    }
}

impl Sample<'_> {
    /// The module's file, a 64-bit little-endian ELF.
    pub fn build(&self) -> Vec<u8> {
        let mut info = format!("name={}\0license=GPL\0", self.name);
        for text in self.info {
            info.extend([text, "\0"]);
        }
        if !self.vermagic.is_empty() {
            info.extend(["vermagic=", self.vermagic, "\0"]);
        }
        let exported: String = self.exports.iter().flat_map(|name| [name, "\0"]).collect();
        let (mut symbols, mut strings) = (vec![0; 24], vec![0]);
        let mut symbol = |name: &str, section: u16, value: u64| {
            symbols.extend_from_slice(&u32::try_from(strings.len()).unwrap_or(0).to_le_bytes());
            symbols.extend_from_slice(&[0x10, 0]); // global
            symbols.extend_from_slice(&section.to_le_bytes());
            symbols.extend_from_slice(&value.to_le_bytes());
            symbols.extend_from_slice(&[0; 8]);
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        };
        let mut versions = Vec::new();
        for name in self.needs {
            symbol(name, 0, 0);
            if let Some(crc) = self.crc {
                let mut version = u64::from(crc).to_le_bytes().to_vec();
                version.extend_from_slice(name.as_bytes());
                version.resize(64, 0);
                versions.extend_from_slice(&version);
            }
        }
        for (name, crc) in self.exports.iter().filter_map(|name| Some((name, self.crc?))) {
            symbol(&format!("__crc_{name}"), 0xfff1, crc.into());
        }
        let mut file = elf(
            self.machine,
            &[
                (".modinfo", 1, info.as_bytes()),
                ("__ksymtab_strings", 1, exported.as_bytes()),
                ("__versions", 1, &versions),
                (".symtab", 2, &symbols),
                (".strtab", 3, &strings),
            ],
        );
        if let Some(signature) = &self.signature {
            file.extend_from_slice(&signature.build());
        }
        file
    }
}

impl SampleSignature<'_> {
    /// Message, block and line, as they stand behind a module.
    fn build(&self) -> Vec<u8> {
        let name = tagged(
            der::SET,
            &tagged(der::SEQUENCE, &[tagged(der::OBJECT, COMMON_NAME), tagged(0x0c, self.name.as_bytes())].concat()),
        );
        let sha512 =
            tagged(der::SEQUENCE, &tagged(der::OBJECT, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03]));
        let rsa = tagged(der::SEQUENCE, &tagged(der::OBJECT, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]));
        let one = tagged(der::INTEGER, &[1]);
        let whose = tagged(der::SEQUENCE, &[tagged(der::SEQUENCE, &name), tagged(der::INTEGER, self.serial)].concat());
        let bytes = tagged(der::OCTET_STRING, &[0x5a; 256]);
        let signer = tagged(der::SEQUENCE, &[one.clone(), whose, sha512.clone(), rsa, bytes].concat());
        // Content type `data`, 1.2.840.113549.1.7.1: the module stands outside.
        let data = tagged(der::SEQUENCE, &tagged(der::OBJECT, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]));
        let signed = tagged(der::SEQUENCE, &[one, tagged(der::SET, &sha512), data, tagged(der::SET, &signer)].concat());
        let mut message = tagged(der::SEQUENCE, &[tagged(der::OBJECT, SIGNED_DATA), tagged(0xa0, &signed)].concat());
        let length = u32::try_from(message.len()).unwrap_or(0);
        message.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(MAGIC);
        message
    }
}

/// A value in DER.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match (u8::try_from(content.len()), u16::try_from(content.len())) {
        (Ok(short @ ..0x80), _) => out.push(short),
        (_, Ok(long)) => {
            out.push(0x82);
            out.extend_from_slice(&long.to_be_bytes());
        }
        // No sample is that long.
        _ => return tagged(tag, &[]),
    }
    out.extend_from_slice(content);
    out
}

/// A relocatable file of sections with name, type and bytes. The strings of symbols stand behind the symbols.
fn elf(machine: u16, sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 64];
    let (mut names, mut headers) = (vec![0], vec![0; 64]);
    let mut add = |file: &mut Vec<u8>, name: u32, kind: u32, bytes: &[u8], index: usize| {
        let (link, entry): (u32, u64) = if kind == 2 { (u32::try_from(index).unwrap_or(0) + 1, 24) } else { (0, 0) };
        file.resize(file.len().next_multiple_of(8), 0);
        headers.extend_from_slice(&name.to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        headers.extend_from_slice(&[0; 16]); // flags, address
        headers.extend_from_slice(&(file.len() as u64).to_le_bytes());
        headers.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        headers.extend_from_slice(&link.to_le_bytes());
        headers.extend_from_slice(&1_u32.to_le_bytes()); // info: the first symbol that is not local
        headers.extend_from_slice(&1_u64.to_le_bytes());
        headers.extend_from_slice(&entry.to_le_bytes());
        file.extend_from_slice(bytes);
    };
    for (index, (name, kind, bytes)) in sections.iter().enumerate() {
        let at = u32::try_from(names.len()).unwrap_or(0);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        add(&mut file, at, *kind, bytes, index + 1);
    }
    let at = u32::try_from(names.len()).unwrap_or(0);
    names.extend_from_slice(b".shstrtab\0");
    add(&mut file, at, 3, &names, sections.len() + 1);
    file.resize(file.len().next_multiple_of(8), 0);
    let count = u16::try_from(sections.len() + 2).unwrap_or(0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &1_u16.to_le_bytes());
    put(18, &machine.to_le_bytes());
    put(20, &1_u32.to_le_bytes());
    put(52, &64_u16.to_le_bytes());
    put(58, &64_u16.to_le_bytes());
    put(60, &count.to_le_bytes());
    put(62, &(count - 1).to_le_bytes());
    let table = file.len() as u64;
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file.extend_from_slice(&headers);
    file
}
