//! The handles of open files and directories, as the kernel knows them.

use fuser::FileHandle;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is open, by the number that the kernel was given for it: from OPEN until RELEASE.
pub(crate) struct Handles<T> {
    table: Mutex<Table<T>>,
}

struct Table<T> {
    open: HashMap<FileHandle, Arc<T>>,
    next: u64,
}

impl<T> Handles<T> {
    pub(crate) fn new() -> Self {
        Self { table: Mutex::new(Table { open: HashMap::new(), next: 1 }) }
    }

    pub(crate) fn add(&self, what: T) -> FileHandle {
        let mut table = self.table();
        let fh = FileHandle(table.next);
        table.next += 1;
        table.open.insert(fh, Arc::new(what));
        fh
    }

    pub(crate) fn get(&self, fh: FileHandle) -> Option<Arc<T>> {
        self.table().open.get(&fh).cloned()
    }

    pub(crate) fn remove(&self, fh: FileHandle) -> Option<Arc<T>> {
        self.table().open.remove(&fh)
    }

    /// Takes out all that is still open.
    pub(crate) fn drain(&self) -> Vec<Arc<T>> {
        std::mem::take(&mut self.table().open).into_values().collect()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table<T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_given_twice() {
        let handles = Handles::new();
        let first = handles.add('a');
        assert_eq!(handles.remove(first).as_deref(), Some(&'a'));
        let second = handles.add('b');
        assert_ne!(first, second);
        assert!(handles.get(first).is_none());
        assert_eq!(handles.get(second).as_deref(), Some(&'b'));
    }
}
