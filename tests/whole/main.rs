//! Real processes together, each test a user's story.

#[path = "../../src/net/authority.rs"]
mod authority;
mod newcomer;
mod process;
mod reload;
mod site;
mod skills;
mod stopping;
mod tls;
mod webhooks;
