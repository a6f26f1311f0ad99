//! A small shell over a mount: the commands of a POSIX system that deal with files, a line editor with history, and
//! redirection of output. It knows no machine: `main.rs` beside it is a kernel with this shell on the serial console,
//! `host/shell` a Linux program with it on the terminal.
//!
//! ```no_run
//! use std::sync::Arc;
//! use virtio_fs::{Platform, VirtioFs};
//! use virtio_fs_shell::{Shell, Terminal};
//!
//! fn work(fs: VirtioFs, platform: Arc<dyn Platform>, terminal: &mut dyn Terminal) -> u8 {
//!     Shell::new(fs, platform, terminal).run(b"mkdir /a; echo hi > /a/b; ls -l /a")
//! }
//! ```
//!
//! # A tour
//!
//! 1. `line`: bytes that are typed become lines.
//! 2. `parse`: a line becomes commands.
//! 3. This file runs them one by one, with their output.
//! 4. `commands`: what each of them does, in terms of [`virtio_fs::fs`]; `arguments`: their options and numbers.
//! 5. `text`: names, modes and dates as they are shown; `failure`: why a command failed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arguments;
mod commands;
mod failure;
mod line;
mod parse;
mod text;

use self::commands::COMMANDS;
use self::failure::{At, Failure, Outcome};
use self::line::{Editor, Event};
use self::parse::{Command, Redirection, When};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use virtio_fs::fs::{File, OpenOptions};
use virtio_fs::{Platform, VirtioFs};

/// The status of a command that did what it should.
pub const SUCCESS: u8 = 0;
/// The status of a command that failed.
pub const FAILURE: u8 = 1;
/// The status of a command that was not understood.
pub const MISUSE: u8 = 2;

/// Where the shell is typed at, and shows what it has to say.
pub trait Terminal {
    /// Shows text. Lines end with `\n`.
    fn write(&mut self, bytes: &[u8]);

    /// Waits for the next byte that is typed; `None` if there will be no more.
    fn read(&mut self) -> Option<u8>;
}

/// How much of a command's output is collected before it is written to a file.
const OUTPUT_BYTES: usize = 64 << 10;

/// The shell: a mount, a terminal, and where it is.
pub struct Shell<'t> {
    fs: VirtioFs,
    platform: Arc<dyn Platform>,
    terminal: &'t mut dyn Terminal,
    /// The directory that relative paths start at; absolute.
    directory: Vec<u8>,
    /// Where output goes, if not to the terminal, and what is on its way there.
    redirected: Option<(File, Vec<u8>)>,
    /// The name of the command that runs.
    running: String,
    /// How the last command ended.
    status: u8,
    /// `exit` was said.
    is_over: bool,
}

impl<'t> Shell<'t> {
    /// A shell at the root of the mount.
    pub fn new(fs: VirtioFs, platform: Arc<dyn Platform>, terminal: &'t mut dyn Terminal) -> Self {
        Self {
            fs,
            platform,
            terminal,
            directory: b"/".to_vec(),
            redirected: None,
            running: String::new(),
            status: SUCCESS,
            is_over: false,
        }
    }

    /// Runs the commands of a text. Gives the status of the last.
    pub fn run(&mut self, text: &[u8]) -> u8 {
        match parse::parse(text) {
            Ok(commands) => {
                for command in commands {
                    if !self.is_over && self.is_due(command.when) {
                        self.status = self.run_one(&command);
                    }
                }
            }
            Err(mistake) => {
                self.running.clear();
                self.status = self.report(&Failure::Misuse(mistake));
            }
        }
        self.status
    }

    /// Runs what is typed, until `exit` or the end of the input. Gives the status of the last command.
    pub fn interact(&mut self) -> u8 {
        let mut editor = Editor::new();
        while !self.is_over {
            let status = if self.status == SUCCESS { String::new() } else { format!("[{}] ", self.status) };
            let prompt = [status.as_bytes(), &self.directory, b" # "].concat();
            self.terminal.write(&editor.begin(&prompt));
            match self.read_line(&mut editor) {
                Event::Line(line) => {
                    self.run(&line);
                }
                Event::End => break,
                Event::Abandoned | Event::Typing => {}
            }
        }
        self.status
    }

    fn read_line(&mut self, editor: &mut Editor) -> Event {
        while let Some(byte) = self.terminal.read() {
            let (shown, event) = editor.take(byte);
            self.terminal.write(&shown);
            if event != Event::Typing {
                return event;
            }
        }
        Event::End
    }

    fn is_due(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Succeeded => self.status == SUCCESS,
            When::Failed => self.status != SUCCESS,
        }
    }

    /// Runs one command with its output where it is to go. Gives its status.
    fn run_one(&mut self, command: &Command) -> u8 {
        self.running = text::name(&command.words[0]);
        let result = self.redirect(command.redirection.as_ref()).and_then(|()| {
            let result = self.execute(&command.words);
            let written = self.end_redirection();
            result.and(written)
        });
        // The server keeps what it was not told to forget: removed files go on taking their space.
        self.fs.maintain();
        match result {
            Ok(()) => SUCCESS,
            Err(failure) => self.report(&failure),
        }
    }

    fn redirect(&mut self, redirection: Option<&Redirection>) -> Outcome {
        let Some(Redirection { path, appends }) = redirection else {
            return Ok(());
        };
        let mut options = OpenOptions::new();
        options.create(true).append(*appends).write(!appends).truncate(!appends);
        let file = options.open(&self.fs, self.path(path)).at(path)?;
        self.redirected = Some((file, Vec::new()));
        Ok(())
    }

    fn end_redirection(&mut self) -> Outcome {
        let flushed = self.flush();
        match self.redirected.take() {
            Some((file, _)) => flushed.and(file.close().at(b"output")),
            None => flushed,
        }
    }

    /// Runs the command that `words` name.
    fn execute(&mut self, words: &[Vec<u8>]) -> Outcome {
        let (name, arguments) = words.split_first().ok_or(Failure::Misuse("a command is missing"))?;
        self.running = text::name(name);
        let command = COMMANDS.iter().find(|command| command.name.as_bytes() == name);
        let command = command.ok_or(Failure::Misuse("no such command; 'help' lists them"))?;
        (command.run)(self, arguments).map_err(|failure| match failure {
            Failure::Usage => Failure::UsageOf(command),
            failure => failure,
        })
    }

    /// Says why the command that runs failed. Gives its status.
    fn report(&mut self, failure: &Failure) -> u8 {
        if !matches!(failure, Failure::Reported | Failure::Status(_)) {
            let colon = if self.running.is_empty() { "" } else { ": " };
            let message = format!("{}{colon}{failure}\n", self.running);
            self.terminal.write(message.as_bytes());
        }
        failure.status()
    }

    /// Writes a command's output.
    fn print(&mut self, output: fmt::Arguments<'_>) -> Outcome {
        self.write(format!("{output}").as_bytes())
    }

    /// Writes a command's output as it is.
    fn write(&mut self, bytes: &[u8]) -> Outcome {
        match &mut self.redirected {
            None => self.terminal.write(bytes),
            Some((_, collected)) => {
                collected.extend_from_slice(bytes);
                if collected.len() >= OUTPUT_BYTES {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        match &mut self.redirected {
            Some((file, collected)) => {
                // What could not be written is not tried again.
                let collected = core::mem::take(collected);
                file.write_all(&collected).at(b"output")
            }
            None => Ok(()),
        }
    }

    /// Does something for each of `words`, and goes on after a failure.
    fn for_each(&mut self, words: &[Vec<u8>], mut act: impl FnMut(&mut Self, &[u8]) -> Outcome) -> Outcome {
        let mut result = Ok(());
        for word in words {
            if let Err(failure) = act(self, word) {
                self.report(&failure);
                result = Err(Failure::Reported);
            }
        }
        result
    }

    /// The absolute path that a word means.
    fn path(&self, word: &[u8]) -> Vec<u8> {
        match word.first() {
            None | Some(b'/') => word.to_vec(),
            _ => join(&self.directory, word),
        }
    }
}

/// The path of `name` in a directory.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// The last name of a path.
fn last_name(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..end]
}
