//! Real processes together, each test a user's story.

#[path = "../../src/net/authority.rs"]
mod authority;
mod files;
mod newcomer;
mod process;
mod reload;
#[path = "../servers/s3.rs"]
mod s3;
mod site;
mod skills;
mod stopping;
mod tls;
mod webhooks;
