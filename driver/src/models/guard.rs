//! What is believed is never older than a local change that was complete before.

use super::{check, number_below, one_of, wire};
use crate::test_utils::{FakeServer, Mounted, opcode};
use crate::vnode::{Node, RenameFlags};
use crate::wire::{FileType, SetAttr, SetTime};
use crate::{Attr, CacheMode, CacheOptions, Errno, Error, Timestamp};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use shuttle::thread;
use spin::Mutex;

/// All names that there ever are, and the directory of each.
const PATHS: [(&str, &str); 4] = [("/", "a"), ("/", "b"), ("/", "c"), ("/d", "e")];

/// Requests that change something.
const CHANGES: [u32; 7] =
    [opcode::SETATTR, opcode::UNLINK, opcode::MKNOD, opcode::CREATE, opcode::LINK, opcode::RENAME, opcode::RENAME2];

/// What can be told of an inode.
type Told = (i64, u16, u32);

fn told(attr: &Attr) -> Told {
    (attr.modified.seconds, attr.permissions, attr.nlink)
}

/// What the server has at a time.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    names: BTreeMap<(&'static str, &'static str), u64>,
    inodes: BTreeMap<u64, Told>,
}

impl State {
    fn after(&self, server: &FakeServer) -> Self {
        let mut state = Self { names: BTreeMap::new(), inodes: self.inodes.clone() };
        for (directory, name) in PATHS {
            let path = format!("{directory}/{name}");
            if server.exists(&path) {
                let attr = server.attr(&path);
                state.names.insert((directory, name), attr.ino);
                state.inodes.insert(attr.ino, told(&attr));
            }
        }
        state
    }
}

/// What the server was, one change after the other, and which of the changes everybody has to know.
struct History {
    states: Vec<State>,
    /// Which state the last change of each thread led to.
    last: BTreeMap<usize, usize>,
    /// The states that changes led to which are complete.
    complete: BTreeSet<usize>,
    /// For whoever looks for the reason.
    events: Vec<String>,
}

fn this_thread() -> usize {
    thread::current().id().into()
}

impl History {
    fn note_request(&mut self, server: &FakeServer) {
        if server.opcodes().last().is_some_and(|opcode| CHANGES.contains(opcode)) {
            let state = self.states.last().map_or_else(State::default, |last| last.after(server));
            self.states.push(state);
            self.last.insert(this_thread(), self.states.len() - 1);
        }
    }

    /// A change of this thread is complete.
    fn complete(&mut self) {
        self.complete.extend(self.last.get(&this_thread()));
    }

    /// Asserts that something was so since the last of the `complete` changes of it.
    fn expect<T>(&self, complete: &BTreeSet<usize>, seen: T, what: &str, look: impl Fn(&State) -> T)
    where
        T: PartialEq + Debug,
    {
        let all: Vec<T> = self.states.iter().map(look).collect();
        let since = complete.iter().rev().find(|&&at| all[at] != all[at - 1]).map_or(0, |&at| at);
        assert!(all[since..].contains(&seen), "{what}: {seen:?}, not of {:?}; {:#?}", &all[since..], self.events);
    }
}

struct Model {
    mounted: Mounted,
    history: Arc<Mutex<History>>,
}

impl Model {
    fn new(mode: CacheMode) -> Self {
        let history =
            History { states: Vec::new(), last: BTreeMap::new(), complete: BTreeSet::new(), events: Vec::new() };
        let history = Arc::new(Mutex::new(history));
        let (first, all) = (history.clone(), history.clone());
        let cache = CacheOptions { mode, ..CacheOptions::default() };
        let mounted = wire::mount(
            cache,
            |server| {
                server.file("a", "").file("b", "").dir("d");
                let state = State::default().after(server);
                first.lock().states.push(state);
            },
            move |server| all.lock().note_request(server),
        );
        Self { mounted, history }
    }

    fn directory(&self, path: &str) -> Node {
        self.mounted.fs.node(path).unwrap()
    }

    /// Looks at what a name leads to, and what is told of it.
    fn look(&self, (directory, name): (&'static str, &'static str)) {
        let complete = self.history.lock().complete.clone();
        let found = self.directory(directory).lookup(name);
        let ino = match &found {
            Ok((_, attr)) => Some(attr.ino),
            Err(error) if error.errno() == Errno::ENOENT => None,
            Err(error) => panic!("{name}: {error}"),
        };
        let history = self.history.lock();
        history.expect(&complete, ino, name, |state| state.names.get(&(directory, name)).copied());
        if let Ok((_, attr)) = found
            && attr.nlink > 0
        {
            history.expect(&complete, Some(told(&attr)), name, |state| state.inodes.get(&attr.ino).copied());
        }
    }

    /// Looks at which names a directory has.
    fn list(&self, directory: &'static str) {
        let complete = self.history.lock().complete.clone();
        let listed: Vec<_> = self.mounted.fs.read_dir(directory).unwrap().map(Result::unwrap).collect();
        let history = self.history.lock();
        for (_, name) in PATHS.into_iter().filter(|path| path.0 == directory) {
            let is_listed = listed.iter().any(|entry| entry.file_name() == name.as_bytes());
            history.expect(&complete, is_listed, name, |state| state.names.contains_key(&(directory, name)));
        }
    }

    /// Makes a change, and takes note that it is complete.
    fn change(&self, what: String, ask: impl FnOnce() -> Result<(), Error>) {
        let id = this_thread();
        self.history.lock().events.push(format!("{id}: {what}"));
        let result = ask();
        let mut history = self.history.lock();
        history.events.push(format!("{id}: {what} is complete: {result:?}"));
        if result.is_ok() {
            history.complete();
        }
    }

    fn set(&self, (directory, name): (&'static str, &'static str)) {
        let Ok((node, _)) = self.directory(directory).lookup(name) else { return };
        let now = self.history.lock().states.len() as i64;
        let date = Timestamp { seconds: now, nanoseconds: 0 };
        let set = match number_below(2) {
            0 => SetAttr { modified: Some(SetTime::At(date)), ..SetAttr::default() },
            _ => SetAttr { permissions: Some(now as u16), ..SetAttr::default() },
        };
        self.change(format!("set {name}"), || node.setattr(&set).map(drop));
    }

    fn rename(&self, from: (&'static str, &'static str), to: (&'static str, &'static str)) {
        let flags =
            one_of(&[RenameFlags::empty(), RenameFlags::empty(), RenameFlags::EXCHANGE, RenameFlags::NOREPLACE]);
        let (old, new) = (self.directory(from.0), self.directory(to.0));
        self.change(format!("rename {from:?} to {to:?} {flags:?}"), || old.rename(from.1, &new, to.1, flags));
    }

    fn turn(&self) {
        let path @ (directory, name) = one_of(&PATHS);
        match number_below(14) {
            0..3 => self.look(path),
            3 => self.set(path),
            4 => {
                let parent = self.directory(directory);
                self.change(format!("remove {name}"), || parent.unlink(name));
            }
            5 => {
                let parent = self.directory(directory);
                self.change(format!("make {name}"), || parent.mknod(name, FileType::Regular, 0o600, 0).map(drop));
            }
            6 => {
                let parent = self.directory(directory);
                let flags = crate::OpenFlags::READ_WRITE | crate::OpenFlags::EXCLUSIVE;
                self.change(format!("create {name}"), || parent.create(name, flags, 0o640).map(drop));
            }
            7 => {
                let new = one_of(&PATHS);
                if let Ok((node, _)) = self.directory(directory).lookup(name) {
                    let parent = self.directory(new.0);
                    self.change(format!("link {name} to {new:?}"), || node.link(&parent, new.1).map(drop));
                }
            }
            8 => self.mounted.fs.root().cache().drop_names(),
            9 | 10 => self.list(directory),
            _ => self.rename(path, one_of(&PATHS)),
        }
    }

    /// Looks at everything when all is quiet.
    fn end(self) {
        let mut history = self.history.lock();
        history.complete = (1..history.states.len()).collect();
        drop(history);
        PATHS.into_iter().for_each(|path| self.look(path));
        ["/", "/d"].into_iter().for_each(|directory| self.list(directory));
        self.mounted.unmount();
    }
}

fn race(mode: CacheMode, turn: fn(&Model)) {
    let model = Model::new(mode);
    if number_below(2) == 0 {
        PATHS.into_iter().for_each(|path| model.look(path));
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| turn(&model));
        }
    });
    model.end();
}

#[test]
fn attributes_are_not_older_than_a_change_that_is_complete() {
    let turn = |model: &Model| {
        let changes = number_below(2) == 0;
        for _ in 0..2 {
            if changes {
                model.set(PATHS[0]);
                model.mounted.fs.root().cache().drop_names();
            }
            model.look(PATHS[0]);
        }
    };
    check(1500, move || race(one_of(&[CacheMode::Auto, CacheMode::Always]), turn));
}

#[test]
fn names_that_are_moved_together_lead_where_the_server_moved_them() {
    check(1500, || {
        let model = Model::new(CacheMode::Always);
        PATHS.into_iter().for_each(|path| model.look(path));
        thread::scope(|scope| {
            scope.spawn(|| model.rename(PATHS[0], PATHS[1]));
            scope.spawn(|| model.rename(PATHS[1], one_of(&[PATHS[2], PATHS[3]])));
            if number_below(2) == 0 {
                scope.spawn(|| model.turn());
            }
        });
        model.end();
    });
}

#[test]
fn names_are_not_older_than_a_change_that_is_complete() {
    let turn = |model: &Model| {
        for _ in 0..3 {
            model.turn();
        }
    };
    check(1500, move || race(one_of(&[CacheMode::Auto, CacheMode::Always]), turn));
}
