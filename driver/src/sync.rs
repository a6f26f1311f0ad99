//! Locks and atomic numbers of what is shared by threads: those of `spin` and `core`. Where threads are modelled
//! (`models`) they are shuttle's, which lets another thread go on at each of them, with the same calls.

#[cfg(not(all(test, shuttle)))]
pub(crate) use core::sync::atomic;
/// What spreads things over locks: at random, but in models, which have to repeat themselves.
#[cfg(not(all(test, shuttle)))]
pub(crate) use hashbrown::DefaultHashBuilder as HashBuilder;
#[cfg(not(all(test, shuttle)))]
pub(crate) use spin::{Mutex, Once, RwLock};

#[cfg(all(test, shuttle))]
pub(crate) type HashBuilder = core::hash::BuildHasherDefault<std::hash::DefaultHasher>;
#[cfg(all(test, shuttle))]
pub(crate) use modelled::{Mutex, Once, RwLock};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::atomic;

#[cfg(all(test, shuttle))]
mod modelled {
    use shuttle::sync::{self, MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    use std::sync::{OnceLock, PoisonError};

    /// As `spin::Mutex`. What happens to locks after a panic is not told: the model has failed.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// As `spin::RwLock`.
    pub(crate) struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// As `spin::Once`. Who only looks waits, too, for who makes the value: it is never made for long.
    pub(crate) struct Once<T> {
        making: sync::Mutex<()>,
        value: OnceLock<T>,
    }

    impl<T> Once<T> {
        pub(crate) const fn new() -> Self {
            Self { making: sync::Mutex::new(()), value: OnceLock::new() }
        }

        pub(crate) fn call_once(&self, make: impl FnOnce() -> T) -> &T {
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            self.value.get_or_init(make)
        }

        pub(crate) fn get(&self) -> Option<&T> {
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            self.value.get()
        }
    }
}
