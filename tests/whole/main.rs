//! Real processes together, each test a user's story.

#[path = "../../src/net/authority.rs"]
mod authority;
mod balancer;
mod busy;
mod cluster;
mod files;
mod full;
mod lost;
mod monitored;
mod named;
mod newcomer;
mod outages;
mod process;
mod redis;
mod reload;
mod rolling;
#[path = "../servers/s3.rs"]
mod s3;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/mod.rs"]
mod servers;
mod several;
mod site;
mod skills;
mod stopping;
mod tls;
mod traces;
mod webhooks;
