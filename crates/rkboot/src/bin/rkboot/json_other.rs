//! What `inspect` says to programs about files that are neither idblock nor FIT.

use rkboot::BootFileKind;
use serde_json::{Value, json};

use crate::text::check;

pub(crate) fn add(kind: &BootFileKind, value: &mut Value) {
    match kind {
        BootFileKind::Loader(found) => value["loader"] = loader(found),
        BootFileKind::LoaderImage(found) => value["loader_image"] = image(found),
        BootFileKind::Trust(found) => value["trust"] = trust(found),
        BootFileKind::DtboTable(found) => value["dtbo_table"] = table(found),
        BootFileKind::Parameter(found) => value["parameter"] = parameter(found),
        _ => {}
    }
}

fn loader(loader: &rkboot::Loader) -> Value {
    let entries = loader.entries.iter().map(|entry| {
        json!({
            "use": entry.used.describe(),
            "type": entry.kind,
            "name": entry.name,
            "offset": entry.range.start,
            "size": entry.range.end - entry.range.start,
            "delay_ms": entry.delay_ms,
            "stored": entry.scrambling.name(),
        })
    });
    let block = |block: &Option<Box<rkboot::IdBlock>>| {
        block.as_ref().map(|block| {
            json!({
                "length": block.length,
                "header_hash": check(block.header_check),
                "images": block.images.iter().map(|image| check(image.check)).collect::<Vec<_>>(),
            })
        })
    };
    json!({
        "form": loader.form.tag().trim_end(),
        "chip": loader.chip,
        "soc": loader.soc().map(rkboot::Soc::name),
        "version": loader.version,
        "merger_version": loader.merger_version,
        "time": loader.time.to_string(),
        "sign_flag": loader.sign_flag,
        "rc4_flag": loader.rc4_flag,
        "crc32": loader.crc,
        "checksum": check(loader.crc_check),
        "entries": entries.collect::<Vec<_>>(),
        "flash_idblock": block(&loader.flash),
        "usb_idblock": block(&loader.usb),
    })
}

fn image(image: &rkboot::legacy::loader_image::LoaderImage) -> Value {
    json!({
        "magic": image.kind.magic(),
        "version": image.version,
        "load": image.load,
        "size": image.size,
        "crc32": image.crc,
        "checksum": check(image.crc_check),
        "hash_length": image.hash.len(),
        "hash": check(image.hash_check),
        "js_hash": check(image.js_check),
        "signature_length": image.signature_length,
    })
}

fn trust(trust: &rkboot::legacy::trust::Trust) -> Value {
    let components = trust.components.iter().map(|component| {
        json!({
            "id": component.id,
            "offset": component.range.start,
            "size": component.range.end - component.range.start,
            "load": component.load,
            "hash": check(component.check),
        })
    });
    json!({
        "version": trust.version,
        "flags": trust.flags,
        "hash_kind": trust.hash_kind.name(),
        "rsa": trust.rsa(),
        "signed": trust.signed,
        "components": components.collect::<Vec<_>>(),
    })
}

fn table(table: &rkboot::dtbo_table::DtboTable) -> Value {
    let entries = table.entries.iter().map(|entry| {
        json!({
            "offset": entry.range.start,
            "size": entry.range.end - entry.range.start,
            "id": entry.id,
            "rev": entry.rev,
            "custom": entry.custom,
            "compression": entry.compression.name(),
        })
    });
    json!({
        "version": table.version,
        "page_size": table.page_size,
        "total_size": table.total_size,
        "entries": entries.collect::<Vec<_>>(),
    })
}

fn parameter(parameter: &rkboot::parameter::Parameter) -> Value {
    let partitions = parameter.partitions.iter().map(|partition| {
        json!({
            "name": partition.name,
            "start_sector": partition.start,
            "sectors": partition.size,
            "flags": partition.flags,
            "uuid": partition.uuid,
        })
    });
    json!({
        "keys": parameter.keys.iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>(),
        "device": parameter.device,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
