//! Makes the directory trees that the demo and the tests share with a guest, and lists a tree on the host so that
//! the list can be compared, line by line, with what the example kernel `tree-check` sees through virtio-fs.
//!
//! ```text
//! sample-tree make DIR [--size small|full]     build a tree in the empty or absent directory DIR
//! sample-tree manifest DIR                     list DIR and everything below it
//! ```
//!
//! The format of the list is described in [`manifest`], what the trees hold in [`make`].

mod make;
mod manifest;
#[cfg(test)]
mod test_folder;
mod tree;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
usage: sample-tree make DIR [--size small|full]
       sample-tree manifest DIR

  make DIR        build a sample tree in DIR, which must be absent or empty
  --size small    a dozen plain files for the demo (the default)
  --size full     about 26,000 entries with everything a directory tree can hold; under 100 MiB of disk
  manifest DIR    print one line for DIR and for each entry below it
  --help          print this text
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let texts: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or("")).collect();
    let result = match texts[..] {
        ["make", _] | ["make", _, "--size", "small"] => make::small(Path::new(&arguments[1])),
        ["make", _, "--size", "full"] => make::full(Path::new(&arguments[1])),
        ["manifest", _] => print_manifest(Path::new(&arguments[1])),
        _ => {
            eprint!("sample-tree: these arguments are not understood\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample-tree: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_manifest(root: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    manifest::write(root, &mut out)?;
    out.flush()
}
