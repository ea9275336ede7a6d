//! Reading a compressed image at any offset.
