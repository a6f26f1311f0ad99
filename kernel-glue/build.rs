//! Lets the linker find `link.ld` by its name, wherever this crate is.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
}
