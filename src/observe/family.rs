//! Counters by a name: each name is looked up once in a map that readers never wait for, and beyond
//! a bound all further names share one place, so that no input can grow a process's memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// What stands for all names beyond the bound.
const OTHER: &str = "other";

/// Things by name.
pub(super) struct Family<T> {
    known: ArcSwap<HashMap<Box<str>, Arc<T>>>,
    make: Box<dyn Fn(&str) -> T + Send + Sync>,
    names_max: usize,
    adding: Mutex<()>,
}

impl<T> Family<T> {
    /// Makes an empty family; `make` is called once for each name.
    pub(super) fn new(names_max: usize, make: impl Fn(&str) -> T + Send + Sync + 'static) -> Self {
        Self {
            known: ArcSwap::default(),
            make: Box::new(make),
            names_max,
            adding: Mutex::default(),
        }
    }

    /// Does something with what belongs to the name.
    pub(super) fn with<R>(&self, name: &str, act: impl FnOnce(&T) -> R) -> R {
        if let Some(found) = self.known.load().get(name) {
            return act(found);
        }
        act(&self.add(name))
    }

    fn add(&self, name: &str) -> Arc<T> {
        let _alone = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load_full();
        let is_full = known.len() >= self.names_max;
        let name = if is_full { OTHER } else { name };
        if let Some(found) = known.get(name) {
            return Arc::clone(found);
        }
        let made = Arc::new((self.make)(name));
        let mut more = HashMap::clone(&known);
        more.insert(name.into(), Arc::clone(&made));
        self.known.store(Arc::new(more));
        made
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn beyond_the_bound_names_share_one_place() {
        let family = Family::new(2, |name| (name.to_owned(), AtomicU32::new(0)));
        for name in ["a", "b", "a", "c", "d", "b", "c"] {
            family.with(name, |(_, count)| count.fetch_add(1, Ordering::Relaxed));
        }
        let seen = |name| family.with(name, |(name, n)| (name.clone(), n.load(Ordering::Relaxed)));
        assert_eq!(seen("a"), ("a".to_owned(), 2));
        assert_eq!(seen("b"), ("b".to_owned(), 2));
        assert_eq!(seen("c"), ("other".to_owned(), 3));
        assert_eq!(family.known.load().len(), 3);
    }
}
