//! The engine's own tests: a blueprint, a script of inputs, and what comes out as text.

mod actions;
mod explains;
mod failures;
mod fanouts;
mod harness;
mod kept;
mod lifecycles;
mod matching;
mod paths;
mod random;
mod select;
mod told;
mod totality;
