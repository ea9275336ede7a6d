//! Speed of the parts that the sinks are made of, by kind of data.
//!
//! `cargo bench -p rawimg --bench sinks`. The data is made at run time; the kernel of the reference is used when it is
//! there. For a comparison with the programs that people use see `compare.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a measuring program stops at any error"
)]

mod common;

use std::{hint::black_box, io, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgcore::{NoProgress, ReadAt};
use rawimg::{
    Extents,
    sink::{self, Format, Options},
    source,
};

const MIB: usize = 1 << 20;

/// One image per kind of data.
fn images() -> Vec<(&'static str, Extents)> {
    let kernel = common::kernel();
    let half: Vec<u8> =
        (0..8 * MIB).map(|n| if n / 4096 % 2 == 0 { 0 } else { ((n * 0x9E37_79B1) >> 13 & 0xFF) as u8 }).collect();
    let of = |bytes: Vec<u8>| {
        let mut image = Extents::new(bytes.len() as u64);
        image.insert(0, "data", bytes.into()).unwrap();
        image
    };
    vec![
        ("zeros", Extents::new(1 << 30)),
        ("kernel", of(kernel[..kernel.len().min(8 * MIB)].to_vec())),
        ("random", of(common::noise(16 * MIB, 3))),
        ("half zeros", of(half)),
    ]
}

fn write(c: &mut Criterion) {
    let options = Options { workers: 2, hash_raw: false };
    for (kind, image) in images() {
        let mut group = c.benchmark_group(format!("write {kind}"));
        group.sample_size(10).throughput(Throughput::Bytes(image.len()));
        for format in [Format::Xz, Format::Zst, Format::Gz] {
            group.bench_function(format.name(), |b| {
                b.iter(|| sink::write(black_box(&image), format, &options, &mut io::sink(), &NoProgress).unwrap());
            });
        }
    }
}

fn read(c: &mut Criterion) {
    let options = Options { workers: 2, hash_raw: false };
    for (kind, image) in images() {
        let mut group = c.benchmark_group(format!("read {kind}"));
        group.sample_size(10).throughput(Throughput::Bytes(image.len()));
        for format in [Format::Xz, Format::Zst, Format::Gz] {
            let mut file = Vec::new();
            let written = sink::write(&image, format, &options, &mut file, &NoProgress).unwrap();
            let file: Arc<dyn ReadAt> = Arc::new(file);
            group.bench_function(format!("check {format}"), |b| {
                b.iter(|| sink::check(Arc::clone(&file), format, &written, &options, &NoProgress).unwrap());
            });
            group.bench_function(format!("source {format}"), |b| {
                let mut buffer = vec![0; MIB];
                b.iter(|| {
                    let disk = source::open(Arc::clone(&file)).unwrap();
                    let mut at = 0;
                    while at < disk.size() {
                        at += disk.read_at(at, &mut buffer).unwrap() as u64;
                    }
                });
            });
        }
    }
}

criterion_group!(benches, write, read);
criterion_main!(benches);
