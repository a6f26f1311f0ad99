//! What file systems around another one have in common.

/// Methods that are passed on unchanged.
macro_rules! pass_on {
    ($(fn $name:ident $(<$generic:ident: $bound:path>)? (&self $(, $argument:ident: $kind:ty)* $(,)?) -> $result:ty;)*) => {
        $(fn $name $(<$generic: $bound>)? (&self $(, $argument: $kind)*) -> $result {
            self.inner.$name($($argument),*)
        })*
    };
}
pub(crate) use pass_on;
