//! Device trees: a lenient scan with findings, a strict view, a writer, DTS output, board expectations.

mod dts;
mod error;
mod facts;
mod header;
pub mod model;
mod property;
pub mod rules;
mod scan;
mod token;
mod tree;
mod view;
mod walk;
mod write;

pub use dts::to_dts;
pub use error::{Block, Error, ErrorKind};
pub use facts::facts;
pub use header::{Header, MAGIC, MemoryReservation};
pub use property::{Property, StrList};
pub use rules::RULES;
pub use scan::scan;
pub use tree::{Tree, TreeNode};
pub use view::{Children, Fdt, Node, Properties, Walk};
pub use walk::MAX_DEPTH;
pub use write::WriteOptions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_quick() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/testdata/seed-nanopi-m6/rk3588s-nanopi-m6.dtb");
        let Ok(bytes) = std::fs::File::open(path).and_then(|mut f| {
            let mut v = Vec::new();
            std::io::Read::read_to_end(&mut f, &mut v).map(|_| v)
        }) else {
            return;
        };
        let fdt = Fdt::parse(&bytes).unwrap();
        for finding in &scan(&bytes).1 {
            println!("{finding}");
        }
        assert_eq!(fdt.walk().count(), 1437);
        assert_eq!(fdt.walk().map(|(_, n)| n.properties().count()).sum::<usize>(), 7842);
        let node = fdt.find("/serial@feb50000").unwrap();
        assert!(!node.is_enabled());
        assert_eq!(fdt.path(node), "/serial@feb50000");
    }
}
