//! Links every binary of this package as a kernel.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-glue/link.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    // The target's default is a relocatable program; a kernel at a fixed address has no one to relocate it.
    println!("cargo:rustc-link-arg-bins=--no-pie");
}
