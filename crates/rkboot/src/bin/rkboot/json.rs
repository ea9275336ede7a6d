//! What `inspect` says to programs.

use rkboot::{
    AnyBlock, BootFile, BootFileKind, Fit, IdBlock, IdBlockV1,
    fit::{Hash, Signature},
    idblock::DdrInfo,
    parts, trim,
};
use serde_json::{Value, json};

use crate::{
    contains, json_other,
    text::{check, start, tail},
};

pub(crate) fn result(file: &BootFile, bytes: &[u8]) -> Value {
    let mut value = json!({
        "kind": file.kind.name(),
        "description": file.kind.describe(),
        "length": file.length,
        "content_end": file.content_end,
        "copies": file.copies.iter().map(|copy| json!({ "start": copy.start, "end": copy.end })).collect::<Vec<_>>(),
        "copies_equal": file.copies_equal,
        "trimmed_length": trim(file).ok(),
    });
    match &file.kind {
        BootFileKind::IdBlock(block) => value["idblock"] = idblock_value(block, start(file), bytes),
        BootFileKind::IdBlockV1(block) => value["idblock"] = v1_value(block, start(file), bytes),
        BootFileKind::Fit(fit) => value["fit"] = fit_value(fit, 0),
        BootFileKind::Combined { idblock, idblock_range, fit, fit_range } => {
            match idblock {
                AnyBlock::V1(block) => value["idblock"] = v1_value(block, idblock_range.start, bytes),
                AnyBlock::V2(block) => value["idblock"] = idblock_value(block, idblock_range.start, bytes),
                _ => {}
            }
            value["fit"] = fit_value(fit, fit_range.start);
        }
        other => json_other::add(other, &mut value),
    }
    value["contains"] = contains::value(&contains::programs(file, bytes));
    value["parts"] = parts(file)
        .sorted()
        .iter()
        .map(|part| json!({ "name": part.owner, "start": part.range.start, "end": part.range.end }))
        .collect();
    value
}

fn idblock_value(block: &IdBlock, at: u64, bytes: &[u8]) -> Value {
    let images = block.images.iter().map(|image| {
        json!({
            "offset": image.range.start,
            "size": image.range.end - image.range.start,
            "load": image.load,
            "hash": check(image.check),
        })
    });
    json!({
        "version": 2,
        "spread": block.spread,
        "offset": at,
        "length": block.length,
        "bytes_missing": block.bytes_missing,
        "hash_kind": block.hash_kind.name(),
        "header_hash": check(block.header_check),
        "images": images.collect::<Vec<_>>(),
        "ddr": block.ddr(tail(bytes, at)).as_ref().map(ddr_value),
    })
}

fn v1_value(block: &IdBlockV1, at: u64, bytes: &[u8]) -> Value {
    json!({
        "version": 1,
        "spread": block.spread,
        "offset": at,
        "length": block.length,
        "content_length": block.content_length,
        "bytes_missing": block.bytes_missing,
        "open_ended": block.open_ended,
        "payload_scrambled": block.disable_rc4 == 0,
        "tag": String::from_utf8_lossy(&block.tag),
        "init": { "offset": block.init.start, "size": block.init.end - block.init.start },
        "boot": { "offset": block.boot.start, "size": block.boot.end - block.boot.start },
        "ddr": block.ddr(tail(bytes, at)).as_ref().map(ddr_value),
    })
}

fn ddr_value(ddr: &DdrInfo) -> Value {
    json!({
        "version": ddr.version,
        "text": ddr.text,
        "files": ddr.files,
        "uart": ddr.uart.map(|uart| json!({ "id": uart.id, "iomux": uart.iomux, "baud": uart.baud })),
    })
}

fn hashes(hashes: &[Hash]) -> Vec<Value> {
    hashes.iter().map(|hash| json!({ "algorithm": hash.algorithm, "state": hash.status.name() })).collect()
}

fn signatures(signatures: &[Signature]) -> Vec<Value> {
    let value = |signature: &Signature| {
        json!({
            "algorithm": signature.algorithm,
            "key": signature.key,
            "images": signature.images,
            "signed": signature.is_signed,
        })
    };
    signatures.iter().map(value).collect()
}

fn fit_value(fit: &Fit, at: u64) -> Value {
    let images = fit.images.iter().map(|image| {
        json!({
            "name": image.name,
            "type": image.kind,
            "os": image.os,
            "compression": image.compression,
            "load": image.load,
            "entry": image.entry,
            "offset": image.data.as_ref().map(|(_, range)| range.start),
            "size": image.data.as_ref().map(|(_, range)| range.end - range.start),
            "hashes": hashes(&image.hashes),
            "unpacked_size": image.unpacked_size,
            "digests": hashes(&image.digests),
            "signatures": signatures(&image.signatures),
        })
    });
    let configurations = fit.configurations.iter().map(|configuration| {
        json!({
            "name": configuration.name,
            "description": configuration.description,
            "firmware": configuration.firmware,
            "loadables": configuration.loadables,
            "kernel": configuration.kernel,
            "fdt": configuration.fdt,
            "dangling": configuration.dangling,
            "signatures": signatures(&configuration.signatures),
        })
    });
    json!({
        "offset": at,
        "end": fit.end(),
        "external_base": fit.external_base,
        "default": fit.default,
        "images": images.collect::<Vec<_>>(),
        "configurations": configurations.collect::<Vec<_>>(),
    })
}
