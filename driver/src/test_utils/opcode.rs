//! The numbers of the operations that [`FakeServer`](super::FakeServer) knows (`enum fuse_opcode`).

macro_rules! opcodes {
    ($($name:ident = $number:literal;)*) => {
        $(#[doc = concat!("FUSE_", stringify!($name), ".")] pub const $name: u32 = $number;)*

        /// The name of an operation, for messages.
        pub fn name(opcode: u32) -> &'static str {
            match opcode {
                $($name => stringify!($name),)*
                _ => "an unknown operation",
            }
        }
    };
}

opcodes! {
    LOOKUP = 1;
    FORGET = 2;
    GETATTR = 3;
    READLINK = 5;
    OPEN = 14;
    READ = 15;
    STATFS = 17;
    RELEASE = 18;
    INIT = 26;
    OPENDIR = 27;
    READDIR = 28;
    RELEASEDIR = 29;
    DESTROY = 38;
    BATCH_FORGET = 42;
    READDIRPLUS = 44;
    STATX = 52;
}
