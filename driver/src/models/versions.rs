//! Threads of a guest whose caches go by the version table, while somebody else changes the same files: nobody sees a state
//! older than the last change that was acknowledged to anybody.

use super::{check, number_below, wire};
use crate::fs::{File, OpenOptions};
use crate::test_utils::{FakeServer, Mounted};
use crate::{CacheMode, CacheOptions};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use shuttle::thread;
use spin::Mutex;

/// What is changed, and looked at.
#[derive(Clone, Copy, Debug)]
enum Thing {
    /// The content of the file "f": a number in eight digits.
    Content,
    /// The group of the file "f".
    Group,
    /// Whether there is a name "n": an even number for no.
    Name,
}

const THINGS: [Thing; 3] = [Thing::Content, Thing::Group, Thing::Name];

/// What each thing was, in the order of the server, and how much of that was acknowledged.
#[derive(Default)]
struct History(Mutex<[(Vec<u64>, usize); 3]>);

impl History {
    fn of(server: &FakeServer, thing: Thing) -> u64 {
        match thing {
            Thing::Content => digits(&server.content("f")),
            Thing::Group => server.attr("f").gid.into(),
            Thing::Name => server.exists("n").into(),
        }
    }

    /// The server has done something.
    fn note(&self, server: &FakeServer) {
        for (thing, (values, _)) in THINGS.into_iter().zip(&mut *self.0.lock()) {
            let value = Self::of(server, thing);
            if values.last() != Some(&value) {
                values.push(value);
            }
        }
    }

    /// What was changed to this value, after there were so many values, is acknowledged.
    fn acknowledge(&self, thing: Thing, value: u64, before: usize) {
        let (values, acknowledged) = &mut self.0.lock()[thing as usize];
        // Others may have changed it to the same value, or back: the first time is that of nobody later.
        let at = values[before..].iter().position(|&other| other == value);
        *acknowledged = at.map_or(*acknowledged, |at| (before + at).max(*acknowledged));
    }

    fn len(&self, thing: Thing) -> usize {
        self.0.lock()[thing as usize].0.len()
    }

    fn acknowledged(&self, thing: Thing) -> usize {
        self.0.lock()[thing as usize].1
    }

    /// Somebody saw this value who began to look when so much was acknowledged.
    fn check(&self, thing: Thing, value: u64, acknowledged: usize) {
        let all = self.0.lock();
        let values = &all[thing as usize].0;
        let is_new = values[acknowledged..].contains(&value);
        assert!(is_new, "{thing:?}: {value} is older than {:?} of {values:?}", &values[acknowledged..]);
    }
}

fn digits(content: &[u8]) -> u64 {
    content.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}

struct Model {
    mounted: Mounted,
    history: Arc<History>,
    next: Mutex<u64>,
}

impl Model {
    fn number(&self) -> u64 {
        let mut next = self.next.lock();
        *next += 1;
        *next
    }

    fn look(&self, thing: Thing, open: &File) {
        let acknowledged = self.history.acknowledged(thing);
        let fs = &self.mounted.fs;
        let value = match thing {
            Thing::Content if number_below(2) == 0 => digits(&fs.read("f").unwrap()),
            Thing::Content => {
                let mut content = [0; 9];
                let bytes = open.read_at(0, &mut content).unwrap();
                digits(&content[..bytes])
            }
            Thing::Group => fs.metadata("f").unwrap().attr().gid.into(),
            Thing::Name => fs.exists("n").unwrap().into(),
        };
        self.history.check(thing, value, acknowledged);
    }

    fn change(&self, thing: Thing, open: &File) {
        let (fs, before, number) = (&self.mounted.fs, self.history.len(thing) - 1, self.number());
        let value = match thing {
            Thing::Content => {
                assert_eq!(open.write_at(0, format!("{number:08}").as_bytes()), Ok(8));
                number
            }
            Thing::Group => {
                fs.set_owner("f", None, Some(number as u32)).unwrap();
                number
            }
            Thing::Name if number % 2 == 0 => match fs.remove_file("n") {
                Ok(()) => 0,
                // It was not there.
                Err(_) => return,
            },
            Thing::Name => {
                fs.write("n", b"").unwrap();
                1
            }
        };
        self.history.acknowledge(thing, value, before);
    }

    fn change_by_another(&self, thing: Thing) {
        let (before, number) = (self.history.len(thing) - 1, self.number());
        let mut value = number;
        wire::change_by_another(&self.mounted, |server| {
            match thing {
                Thing::Content => drop(server.file("f", format!("{number:08}"))),
                Thing::Group => server.attr_mut("f").gid = number as u32,
                Thing::Name if server.exists("n") => drop(server.remove("n")),
                Thing::Name => drop(server.file("n", b"")),
            }
            value = History::of(server, thing);
            self.history.note(server);
        });
        self.history.acknowledge(thing, value, before);
    }

    fn turns(&self, things: &[Thing]) {
        let open = OpenOptions::new().read(true).write(true).open(&self.mounted.fs, "f").unwrap();
        for _ in 0..5 {
            let thing = super::one_of(things);
            match number_below(3) {
                0 => self.change(thing, &open),
                _ => self.look(thing, &open),
            }
        }
        things.iter().for_each(|&thing| self.look(thing, &open));
    }
}

fn changes(mode: CacheMode, things: &'static [Thing]) {
    let history = Arc::<History>::default();
    let seen = history.clone();
    let mounted = wire::mount(
        CacheOptions { mode, ..CacheOptions::default() },
        |server| {
            server.add_version_table(16).file("f", "00000000");
            history.note(server);
        },
        move |server| seen.note(server),
    );
    let model = Model { mounted, history, next: Mutex::new(0) };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| model.turns(things));
        }
        scope.spawn(|| (0..4).for_each(|_| model.change_by_another(super::one_of(things))));
    });
    model.mounted.unmount();
}

#[test]
fn content_is_never_older_than_the_last_acknowledged_change() {
    check(200, || changes(CacheMode::Auto, &[Thing::Content]));
    check(60, || changes(CacheMode::Always, &[Thing::Content]));
}

#[test]
fn attributes_and_names_are_never_older_than_the_last_acknowledged_change() {
    check(150, || changes(CacheMode::Auto, &[Thing::Group, Thing::Name]));
}

#[test]
fn all_together_is_never_older_than_the_last_acknowledged_change() {
    check(150, || changes(CacheMode::Always, &THINGS));
}
