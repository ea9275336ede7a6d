//! Unified kernel images: a boot stub, kernel, initramfs and command line in one PE program.
//!
//! [`plan`] puts sections behind those of a stub without copying them; [`read`] explains anybody's image. Nothing here
//! knows what the sections are for, beyond the names of the UAPI group's specification.
//!
//! ```
//! use imgcore::{Epoch, ReadAt as _};
//! use talosimg::uki::{Section, plan, read, sample_stub};
//!
//! let sections = [
//!     Section::new(".cmdline", b"console=ttyS2,1500000n8".to_vec()),
//!     Section::new(".linux", vec![0x4d; 70_000]),
//! ];
//! let uki = plan(&sample_stub(), &sections, Epoch(1_700_000_000))?;
//! let (found, report) = read(&uki);
//! let found = found.expect("it is a PE program");
//! assert_eq!(report.iter().count(), 0);
//! assert_eq!(found.sections.last().map(|section| section.virtual_size), Some(70_000));
//! assert_eq!(found.text(".cmdline"), Some("console=ttyS2,1500000n8"));
//! # Ok::<(), talosimg::Error>(())
//! ```

mod assemble;
mod header;
mod read;
mod sample;

pub use assemble::{Section, plan};
pub use read::{SectionInfo, Uki, UkiProfile, read};
pub use sample::sample_stub;

#[cfg(test)]
mod tests;
