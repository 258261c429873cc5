//! A panic in a task of the shell's must fail the seed, though the shell survives it.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

static WATCH: Once = Once::new();

/// Begins to remember panics, by thread.
pub fn watch() {
    WATCH.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            FIRST.with(|first| {
                let mut first = first.borrow_mut();
                first.get_or_insert_with(|| info.to_string());
            });
            before(info);
        }));
    });
}

/// Returns this thread's first panic since the last look.
pub fn take() -> Option<String> {
    FIRST.with(|first| first.borrow_mut().take())
}
