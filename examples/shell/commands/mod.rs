//! The commands.

mod attributes;
mod copy;
mod list;
mod names;
mod show;
mod system;
mod walk;

use crate::Shell;
use crate::failure::Outcome;
use alloc::vec::Vec;

/// A command: what `help` says of it, and what it does.
#[derive(Debug)]
pub(crate) struct CommandInfo {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) run: fn(&mut Shell<'_>, &[Vec<u8>]) -> Outcome,
}

macro_rules! commands {
    ($($name:literal $arguments:literal: $summary:literal, $run:path;)*) => {
        &[$(CommandInfo { name: $name, arguments: $arguments, summary: $summary, run: $run },)*]
    };
}

/// All commands, in the order in which `help` lists them.
pub(crate) static COMMANDS: &[CommandInfo] = commands! {
    "ls" "[-laR] [PATH...]": "list directories: long, with hidden names, all below", list::ls;
    "tree" "[PATH]": "draw all that is below a directory", list::tree;
    "find" "[PATH] [-name PATTERN] [-type f|d|l|p|s|b|c]": "print the paths below a directory", list::find;
    "du" "[-s] [PATH...]": "space taken below directories, in KiB; only the sum", list::du;
    "stat" "PATH...": "all attributes; links are not followed", show::stat;
    "cat" "FILE...": "print files", show::cat;
    "head" "-c BYTES FILE...": "print the start of files", show::head;
    "hexdump" "[-s OFFSET] [-n BYTES] FILE": "print bytes in hexadecimal", show::hexdump;
    "sha256sum" "FILE...": "print SHA-256 hashes", show::sha256sum;
    "readlink" "LINK...": "print the targets of symbolic links", show::readlink;
    "echo" "[TEXT...]": "print text; as all output, `> FILE` writes and `>> FILE` appends it", show::echo;
    "cp" "[-rw] FROM... TO": "copy; directories too; by reading and writing instead of asking the server", copy::cp;
    "mv" "[-nx] FROM... TO": "rename; do not replace; exchange", names::mv;
    "rm" "[-rf] PATH...": "remove; directories too; what is not there is no error", names::rm;
    "mkdir" "[-p] PATH...": "make directories; with those above, and if they are not there yet", names::mkdir;
    "rmdir" "PATH...": "remove empty directories", names::rmdir;
    "ln" "[-s] TARGET LINK": "make a hard or symbolic link", names::ln;
    "touch" "FILE...": "make files, or set their times to now", attributes::touch;
    "chmod" "MODE PATH...": "set permissions, in octal digits", attributes::chmod;
    "chown" "[-h] UID[:GID] PATH...": "set owners; of symbolic links themselves", attributes::chown;
    "truncate" "-s SIZE FILE...": "cut or extend files", attributes::truncate;
    "fallocate" "[-kpz] [-o OFFSET] -l LENGTH FILE": "allocate space; keep the size, punch a hole, make zeroes",
        attributes::fallocate;
    "xattr" "get PATH NAME | set PATH NAME VALUE | list PATH | rm PATH NAME": "extended attributes", attributes::xattr;
    "df" "": "how full the file system is", system::df;
    "sync" "": "make durable what was written", system::sync;
    "cd" "[PATH]": "change the directory that relative paths start at", system::cd;
    "pwd" "": "print that directory", system::pwd;
    "time" "COMMAND...": "run a command and print how long it took", system::time;
    "repeat" "N COMMAND...": "run a command so many times, or until it fails", system::repeat;
    "fsinfo" "": "what was negotiated, and what was sent since", system::fsinfo;
    "drop" "": "forget what is cached", system::drop_caches;
    "help" "[COMMAND]": "print this", system::help;
    "exit" "[STATUS]": "end the shell", system::exit;
};
