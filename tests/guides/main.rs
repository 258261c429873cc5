//! The guides tell the truth: what they have their reader type is typed, what they name is there, and
//! what they have from the code is current.

mod commands;
mod generated;
mod generated_language;
mod markdown;
mod matrix;
mod names;
mod played;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/s3.rs"]
mod s3;
mod script;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/mod.rs"]
mod servers;
mod session;
mod shell;
mod shown;
mod translation;
