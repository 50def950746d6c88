//! Links hwloc statically where its archive is installed, so that the binaries start on hosts that have no libhwloc.
//! The linker takes the first directory that has the library, and this one holds the archive alone.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_HWLOC").is_none() {
        return;
    }
    let Some(archive) = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .iter()
        .map(|dir| Path::new(dir).join("libhwloc.a"))
        .find(|path| path.exists())
    else {
        return;
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if std::fs::copy(&archive, out.join("libhwloc.a")).is_ok() {
        println!("cargo::rustc-link-search=native={}", out.display());
        println!("cargo::rustc-link-lib=udev");
    }
}
