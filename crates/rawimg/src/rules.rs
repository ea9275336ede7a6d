//! The finding codes of this crate. A code, once published, keeps its meaning for ever.

use imgcore::Severity;

/// Every code, its usual severity and what it means.
pub const RULES: &[(&str, Severity, &str)] = &[];
