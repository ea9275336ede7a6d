//! OCI and docker archives: read, linted, built on.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let data: std::sync::Arc<dyn imgcore::ReadAt> = std::sync::Arc::new(bytes.to_vec());
    let _ = ocipack::inspect(data.clone());
    let (Some(view), _) = ocipack::lint::lint(data, &ocipack::lint::Options::default()) else { return };
    let _ = ocipack::layers::of(&view).0.to_string();
    for base in view.images().filter_map(|image| ocipack::Base::of(image).ok()) {
        let platform = base.platform().unwrap_or(ocipack::Platform::new("linux", "arm64"));
        if let Ok(image) = ocipack::Image::on(&base, &platform, Vec::new(), imgcore::Epoch(0)) {
            image.config().expect("a base that was taken can be written");
        }
    }
});
