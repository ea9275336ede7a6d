//! Where a board file differs from the overlay that it was taken from: each fault is named, and what is here instead.
//!
//! ```
//! use boardbuild::board::Board;
//!
//! let text = r#"
//! name = "b"
//! upstream = "siderolabs/sbc-rockchip v0.2.0"
//! [overlay]
//! name = "b"
//! kernel-args = ["console=ttyS2,115200n8"]
//! [[corrects]]
//! what = "overlay.kernel-args"
//! upstream = "ttyS2,115200n8"
//! here = "console=ttyS2,115200n8"
//! why = "the kernel takes no argument of that name"
//! "#;
//! let board = Board::parse("b.toml", "b", std::path::Path::new("."), text)?;
//! assert_eq!(board.report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["BRD010"]);
//! # Ok::<(), boardbuild::Error>(())
//! ```

use imgcore::Finding;
use serde::{Deserialize, Serialize};

use super::{Dtb, Overlay};

/// One difference from the upstream overlay, made on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Correction {
    /// Which fact.
    pub what: Corrected,
    /// What the upstream overlay has.
    pub upstream: String,
    /// What the board file has.
    pub here: String,
    /// Why.
    pub why: String,
}

/// A fact that can be corrected, in the words of the board file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Corrected {
    /// The device tree's path on the ESP.
    #[serde(rename = "dtb.path")]
    DtbPath,
    /// One kernel argument.
    #[serde(rename = "overlay.kernel-args")]
    KernelArgument,
}

impl Corrected {
    /// The key of the board file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::DtbPath => "dtb.path",
            Self::KernelArgument => "overlay.kernel-args",
        }
    }
}

impl Correction {
    /// What is wrong with it, and what to do: it must say what the file says.
    pub(super) fn wrong(&self, dtb: Option<&Dtb>, overlay: Option<&Overlay>) -> Option<(String, String)> {
        let key = self.what.key();
        let values: Vec<&str> = match self.what {
            Corrected::DtbPath => dtb.iter().map(|dtb| dtb.path.as_str()).collect(),
            Corrected::KernelArgument => {
                overlay.iter().flat_map(|overlay| &overlay.kernel_args).map(String::as_str).collect()
            }
        };
        if self.why.trim().is_empty() {
            return Some(("a correction without a reason".to_owned(), "say why in `why`".to_owned()));
        }
        if self.upstream == self.here {
            let message = format!("a correction that corrects nothing: {}", self.here);
            return Some((message, "take it away, or say in `upstream` what the overlay has".to_owned()));
        }
        if !values.contains(&self.here.as_str()) {
            let message = format!("{key} is said to be corrected to {:?}, which it is not", self.here);
            return Some((message, format!("{key} is: {}", values.join(" "))));
        }
        if values.contains(&self.upstream.as_str()) {
            let message = format!("{key} still has what is said to be corrected: {:?}", self.upstream);
            return Some((message, "take the faulty value away".to_owned()));
        }
        None
    }

    /// What a user is told with every build.
    pub(super) fn finding(&self, board: &str, upstream: Option<&str>) -> Finding {
        let upstream = upstream.unwrap_or("the upstream overlay");
        let message =
            format!("{} is {} here, where {upstream} has {}: {}", self.what.key(), self.here, self.upstream, self.why);
        Finding::warning("BRD010", message)
            .of(board)
            .help("nothing to do; an overlay image of upstream has the fault, and one that is built here has not")
    }
}
