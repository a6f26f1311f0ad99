//! Links every binary of this package as a kernel.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // From kernel-glue, which tells the linker where it is.
    println!("cargo:rustc-link-arg-bins=-Tlink.ld");
    // The target's default is a relocatable program; a kernel at a fixed address has no one to relocate it.
    println!("cargo:rustc-link-arg-bins=--no-pie");
}
