//! Writing an image once, forward: raw, `.xz`, `.zst`, `.gz`.
