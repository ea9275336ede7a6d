//! A download that ends whole and proved, or not at all.

mod download;

use std::io::{self, Seek as _, Write};

use imgcore::{Digest, Hasher, Progress};
use url::Url;

use self::download::Download;
use crate::{Access, Error, ErrorKind, Net, shown};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Get {
    /// Where it lies: mirrors, in the order in which they are asked.
    pub url: Vec<Url>,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// Its SHA-256, if known.
    pub digest: Option<Digest>,
    /// The most bytes that are taken.
    pub limit: u64,
}

/// What is there already: the beginning of the data, from an earlier run.
#[derive(Debug, Clone, Default)]
pub struct Have {
    /// Count of bytes.
    pub offset: u64,
    /// The hash of those bytes.
    pub hasher: Hasher,
    /// What [`Sink::validator`] was told in that run, if it was the first address of [`Get`] that gave it. Without it, and without a digest in [`Get`], the beginning is not
    /// used: nothing would prove that the rest belongs to it.
    pub validator: Option<String>,
}

/// Where the bytes go.
pub trait Sink: Write {
    /// Forgets everything written, what an earlier run wrote included; the next byte is the first.
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn restart(&mut self) -> io::Result<()>;

    /// Hears which address gives the bytes that follow, before [`validator`](Self::validator) is told.
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn address(&mut self, address: &Url) -> io::Result<()> {
        let _ = address;
        Ok(())
    }

    /// Hears what names this version of the data at its server (a strong entity tag or a date), for [`Have`].
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn validator(&mut self, validator: Option<&str>) -> io::Result<()> {
        let _ = validator;
        Ok(())
    }
}

impl Sink for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Sink for std::fs::File {
    fn restart(&mut self) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn restart(&mut self) -> io::Result<()> {
        (**self).restart()
    }

    fn address(&mut self, address: &Url) -> io::Result<()> {
        (**self).address(address)
    }

    fn validator(&mut self, validator: Option<&str>) -> io::Result<()> {
        (**self).validator(validator)
    }
}

/// What came, whole and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// Entity tag of the last answer, weak or strong.
    pub etag: Option<String>,
    /// Media type that the last answer names.
    pub content_type: Option<String>,
    /// Which of the addresses gave the last byte; nothing when all bytes were there already.
    pub mirror: Option<usize>,
    /// Count of requests.
    pub requests: u32,
}

impl Net {
    /// Downloads `get` into `sink`.
    ///
    /// A cut transfer goes on at the byte where it was cut (`Range`, bound to the same version by `If-Range` where the
    /// server gives a strong validator); it begins anew where the server does not do that, or where the data changed
    /// meanwhile. Size and digest are checked before this says `Ok`. An address that fails or lies is followed by the
    /// next one. Waiting, tries and mirrors share one [`Budget`](crate::Budget).
    ///
    /// `task` names the transfer to `progress`, which is also asked whether to stop.
    ///
    /// # Errors
    /// What the server that came nearest to an answer did wrong. The sink then holds a beginning that may be given as
    /// [`Have`] later, or nothing; what was proved wrong is removed.
    #[allow(clippy::too_many_arguments, reason = "six things meet in a download; each is given apart by some caller")]
    pub fn get(
        &self,
        get: &Get,
        access: &dyn Access,
        have: Have,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
        task: &str,
    ) -> Result<Got, Error> {
        if get.size.is_some_and(|size| size > get.limit) {
            let url = get.url.first().map(shown).unwrap_or_default();
            return Err(ErrorKind::TooLarge { url, limit: get.limit }.into());
        }
        let mut download = Download::new(self, get, access, have, sink, progress, task);
        progress.start(task, get.size);
        let result = download.run();
        progress.finish(task);
        result
    }
}
