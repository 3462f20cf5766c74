//! The way into a program that brings its own `main`.

use core::ffi::{CStr, c_char};

/// The arguments of a program, as the kernel laid them out.
#[derive(Clone, Copy)]
pub struct Args {
    argv: *const *const c_char,
    len: usize,
}

impl Args {
    /// Wraps what `main` was given.
    ///
    /// # Safety
    /// `argv` must hold `count` pointers to NUL-terminated strings and behind them a null pointer,
    /// all of which live as long as the process.
    #[must_use]
    pub unsafe fn new(count: i32, argv: *const *const c_char) -> Self {
        Self { argv, len: count.max(0) as usize }
    }

    /// Returns argument `i`; 0 is the program's name.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&'static CStr> {
        if i >= self.len {
            return None;
        }
        // SAFETY: `new`'s caller promised `len` valid strings.
        Some(unsafe { CStr::from_ptr(*self.argv.add(i)) })
    }

    /// Returns the pointers from argument `i` on, the null pointer behind the last included: what
    /// [`crate::process::exec`] takes.
    #[must_use]
    pub fn from(&self, i: usize) -> &'static [*const c_char] {
        let i = i.min(self.len);
        // SAFETY: `new`'s caller promised `len` pointers and a null pointer behind them.
        unsafe { core::slice::from_raw_parts(self.argv.add(i), self.len - i + 1) }
    }

    /// Returns how many there are, the program's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is not even a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Makes `$run`, a `fn(Args) -> i32`, the program's `main`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        #[doc(hidden)]
        #[allow(unsafe_code, missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(argc: i32, argv: *const *const core::ffi::c_char) -> i32 {
            // SAFETY: libc's start-up passes what the kernel laid out for this process.
            $run(unsafe { $crate::entry::Args::new(argc, argv) })
        }
    };
}

/// Gives a program without std what the compiler asks for: a panic handler that writes one line
/// and dies, so that whoever started the program starts it again.
#[macro_export]
macro_rules! no_std_program {
    ($name:literal) => {
        #[panic_handler]
        fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
            let at = info.location().map_or(("", 0), |l| (l.file(), l.line()));
            $crate::message::Line::default()
                .with(concat!($name, ": fatal: bug at ").as_bytes())
                .with(at.0.as_bytes())
                .with(b":")
                .number(u64::from(at.1))
                .send();
            $crate::process::exit(111)
        }

        /// `core` and `alloc` are built for programs that unwind, and refer to this and the next
        /// where no optimisation sees that this one does not; they are never called.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn rust_eh_personality() {}

        #[allow(unsafe_code, non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn _Unwind_Resume() -> ! {
            $crate::process::exit(111)
        }
    };
}
