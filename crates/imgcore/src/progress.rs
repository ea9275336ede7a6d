//! How a long task tells how far it is, without knowing of terminals.

/// Receives progress. Implementations must be cheap: `advance` is called per block.
pub trait Progress: Send + Sync {
    /// A named task begins; `total` is in bytes, if known.
    fn start(&self, task: &str, total: Option<u64>);

    /// More bytes of `task` are done.
    fn advance(&self, task: &str, bytes: u64);

    /// The task is done.
    fn finish(&self, task: &str);

    /// Whether the user asked to stop. Long loops ask once per block and give up with an I/O error whose text is
    /// `cancelled`.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _task: &str, _total: Option<u64>) {}

    fn advance(&self, _task: &str, _bytes: u64) {}

    fn finish(&self, _task: &str) {}
}
