//! Parameters of DDR init code: setting the UART changes one word.
#![no_main]

use rkboot::{ddr_params, idblock::Uart};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = ddr_params::parse(bytes);
    let mut changed = bytes.to_vec();
    let set = ddr_params::set_uart(&mut changed, Uart { id: 9, iomux: 1, baud: 115_200 });
    let different = bytes.iter().zip(&changed).filter(|(a, b)| a != b).count();
    assert!(different <= if set.is_ok() { 4 } else { 0 });
});
