//! Anything in any order, against a row of bytes.

use super::*;

/// What a file holds for who reads it here, what the server has of it, and its pages.
struct Model {
    file: File,
    truth: Vec<u8>,
    time: i64,
    random: XorShift,
}

impl Model {
    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.below(3) {
            0 => self.below(20),
            1 => self.below(5000),
            _ => self.below(2 * PAGE_BYTES + 9),
        };
        let byte = self.below(255) as u8 + 1;
        vec![byte; length + 1]
    }

    /// A place in the file, or somewhat behind its end.
    fn place(&mut self) -> usize {
        let place = self.below(self.truth.len() + 3000);
        if self.below(3) == 0 { place - place % 4096 } else { place }
    }

    fn check(&mut self) {
        let (offset, bytes) = (self.place(), self.bytes().len() * 2);
        let expected = self.truth.get(offset..).unwrap_or_default();
        let expected = &expected[..expected.len().min(bytes)];
        assert_eq!(self.file.read(offset as u64, bytes), expected, "{offset} {bytes}");
    }

    fn write_through(&mut self) {
        let (at, bytes) = (self.place(), self.bytes());
        self.file.flush();
        self.file.write(at, &bytes);
        put(&mut self.truth, at, &bytes);
    }

    fn write_later(&mut self) {
        let bytes = self.bytes();
        let at = if self.below(4) == 0 { None } else { Some(self.place()) };
        let place = at.unwrap_or(self.truth.len());
        if self.file.write_later(at.map(|at| at as u64), &bytes).is_err() {
            self.file.flush();
            self.file.write(place, &bytes);
        }
        put(&mut self.truth, place, &bytes);
    }

    fn resize(&mut self) {
        let size = self.place();
        self.file.flush();
        let changing = self.file.data.begin_cut(u64::MAX);
        self.file.server.resize(size, 0);
        self.file.data.end_change(changing, &Change::Resized(size as u64), || true);
        self.truth.resize(size, 0);
    }

    /// Zeroes that the server puts in, of which the driver knows only where.
    fn zero(&mut self) {
        let (at, bytes) = (self.place(), self.bytes().len());
        self.file.flush();
        let changing = self.file.data.begin_cut(u64::MAX);
        put(&mut self.file.server, at, &vec![0; bytes]);
        put(&mut self.truth, at, &vec![0; bytes]);
        self.file.data.end_change(changing, &Change::Unknown(at as u64..(at + bytes) as u64), || true);
    }

    /// Somebody else writes, and the file is opened again.
    fn others(&mut self) {
        let (at, bytes) = (self.place(), self.bytes());
        self.file.flush();
        if self.below(2) == 0 {
            put(&mut self.file.server, at, &bytes);
        } else {
            self.file.server.truncate(at);
        }
        self.time += 1;
        self.truth = self.file.server.clone();
        self.file.data.opened(version(self.time, self.truth.len()), false, || true);
    }

    /// Somebody else makes the file longer or shorter, and the server says that the rest is what it was.
    fn others_resize(&mut self) {
        self.file.flush();
        let size = self.place();
        self.file.server.resize(size, 0x77);
        self.time += 1;
        self.truth = self.file.server.clone();
        self.file.data.opened(version(self.time, size), true, || true);
    }

    /// A WRITE that is answered while a READ is under way.
    fn overtake(&mut self) {
        let (at, bytes) = (self.place(), self.bytes());
        let offset = self.place() as u64;
        self.file.flush();
        let mut overtaken = false;
        let read = self.file.read_with(offset, 3 * PAGE_BYTES, |data, server, _, filled| {
            if !overtaken {
                let changing = data.begin_cut(u64::MAX);
                put(server, at, &bytes);
                data.end_change(changing, &Change::Written(at as u64, &bytes), || true);
            }
            overtaken = true;
            Ok(filled)
        });
        read.unwrap();
        if overtaken {
            put(&mut self.truth, at, &bytes);
        }
    }

    fn step(&mut self) {
        match self.below(16) {
            0..=3 => self.write_later(),
            4..=5 => self.write_through(),
            6 => self.resize(),
            7 => self.zero(),
            8 => self.others(),
            9 => self.overtake(),
            10 => drop(self.file.flush()),
            11 => self.file.data.clear(),
            12 => self.others_resize(),
            _ => self.check(),
        }
        if self.truth.len() > 12 * PAGE_BYTES {
            let changing = self.file.data.begin_cut(u64::MAX);
            self.truth.truncate(PAGE_BYTES + 1);
            self.file.server.truncate(PAGE_BYTES + 1);
            self.file.data.end_change(changing, &Change::Resized(PAGE + 1), || true);
        }
    }
}

#[test]
fn whatever_is_done_what_is_read_is_what_was_written() {
    for budget in [0, PAGE_BYTES, 64 << 10, 256 << 10, 4 << 20] {
        for seed in 1..12 {
            let pool = Arc::new(Pool::new(budget));
            let random = XorShift::new(seed);
            let mut model = Model { file: File::new(&pool, b""), truth: Vec::new(), time: 0, random };
            for _ in 0..400 {
                model.step();
                assert!(pool.used_bytes() <= budget, "seed {seed}: {} of {budget}", pool.used_bytes());
                if model.file.data.is_unwritten() {
                    assert_eq!(model.file.data.eof(), Some(model.truth.len() as u64), "seed {seed}");
                }
            }
            model.file.flush();
            assert_eq!(model.file.server, model.truth, "seed {seed} budget {budget}");
            drop(model);
            assert_eq!(pool.used_bytes(), 0);
        }
    }
}
