//! Variables of the environment whose names are nearly ones that this program reads. In a file an unknown
//! key is an error; the environment is shared with other programs, so that here one is only told, and only
//! where little else can be meant.

use super::Problem;
use super::foreign::{ALIASES, UNSUPPORTED, UNSUPPORTED_BY_WORKERS};
use super::keys::KEYS;
use super::secret_file;
use crate::blueprint::suggest::{edits, nearest};

/// What names begin with that nobody else's are expected to.
const OWN: &[&str] = &[
    "AVTOMATIKA_",
    "BLUEPRINTS_",
    "DISPATCHER_",
    "HISTORY_",
    "IDEMPOTENCY_",
    "ORCHESTRATOR_",
    "REPUTATION_",
    "SCHEDULES_",
];

/// Letters that the first word of a name needs to have a slip of its own: `APP_PORT` is somebody else's, and
/// no `API_PORT`.
const FIRST_WORD_MIN: usize = 5;

/// Tells of each variable that is misspelt which name was most likely meant. `known` are names that are read
/// besides those of settings; one that ends with `*` stands for all that begin so.
#[must_use]
pub fn told(seen: &[String], known: &[&str]) -> Vec<Problem> {
    let mut names: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
    for key in KEYS {
        names.extend(
            [Some(key.name.to_owned()), secret_file::name_of(key)]
                .into_iter()
                .flatten(),
        );
    }
    names.extend(ALIASES.iter().map(|(_, alias)| (*alias).to_owned()));
    let without_effect = UNSUPPORTED.iter().chain(UNSUPPORTED_BY_WORKERS);
    let without_effect = without_effect.flat_map(|one| one.names);
    names.extend(without_effect.map(|(name, _)| (*name).to_owned()));
    let mut problems: Vec<Problem> = seen
        .iter()
        .filter(|name| !is_known(name, &names) && !is_of_a_service(name, seen))
        .filter_map(|name| {
            let meant = meant(name, &names)?;
            let message = format!("is not known and has no effect (did you mean `{meant}`?)");
            Some(Problem::warning("environment", name, &message))
        })
        .collect();
    problems.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    problems
}

fn is_known(name: &str, names: &[String]) -> bool {
    names.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == known,
    })
}

/// Tells whether Kubernetes has set it: for a service `redis` it sets `REDIS_SERVICE_HOST`,
/// `REDIS_PORT_6379_TCP` and more.
fn is_of_a_service(name: &str, seen: &[String]) -> bool {
    let services = seen
        .iter()
        .filter_map(|one| one.strip_suffix("_SERVICE_HOST"));
    let mut rests = services.filter_map(|service| name.strip_prefix(service));
    rests.any(|rest| rest.starts_with("_SERVICE_") || rest.starts_with("_PORT"))
}

/// Returns the name that was meant. Of names that others may begin so, one is that only where a single slip
/// of the pen lies between.
fn meant<'a>(seen: &str, names: &'a [String]) -> Option<&'a str> {
    let mut known = names.iter().map(String::as_str);
    if let Some(own) = OWN.iter().find(|own| seen.starts_with(**own)) {
        // What they begin with makes no two of them near each other.
        let rests = known.clone().filter_map(|name| name.strip_prefix(own));
        let rest = nearest(seen.strip_prefix(own)?, rests)?;
        return known.find(|name| name.strip_prefix(own) == Some(rest));
    }
    known.find(|name| {
        let (first, first_seen) = (first_word(name), first_word(seen));
        let is_slip = first == first_seen || first_seen.chars().count() >= FIRST_WORD_MIN;
        is_slip
            && !differ_in_a_short_word(seen, name)
            && edits(&seen.to_uppercase(), name, 1).is_some()
    })
}

/// Tells whether they differ in a short word: `WORKER_IP` is not meant for `WORKER_ID`.
fn differ_in_a_short_word(seen: &str, name: &str) -> bool {
    let mut words = seen.split('_').zip(name.split('_'));
    let different = words.find(|(seen, name)| !seen.eq_ignore_ascii_case(name));
    different.is_some_and(|(seen, name)| seen.len() == 2 && name.len() == 2)
}

fn first_word(name: &str) -> &str {
    name.split_once('_').map_or(name, |(first, _)| first)
}
