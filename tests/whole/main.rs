//! Real processes together, each test a user's story.

mod newcomer;
mod process;
mod reload;
mod site;
mod skills;
mod stopping;
mod webhooks;
