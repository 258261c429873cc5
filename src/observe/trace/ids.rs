//! Random bytes for the ids of traces and spans, asked of the system for many ids at once: otherwise
//! every request would make a system call for the sake of an id that mostly nobody will see.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Entropy;

/// Bytes that are asked for at once: an id of a trace and one of its first span, 128 times.
const STOCK_BYTES: usize = 24 * 128;

/// Where ids come from.
pub(super) struct Ids {
    entropy: Arc<dyn Entropy>,
    stock: Mutex<Stock>,
}

/// Bytes of which none becomes part of two ids.
struct Stock {
    bytes: [u8; STOCK_BYTES],
    used: usize,
}

impl Ids {
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            stock: Mutex::new(Stock {
                bytes: [0; STOCK_BYTES],
                used: STOCK_BYTES,
            }),
        }
    }

    /// Returns the next id.
    pub(super) fn next<const COUNT: usize>(&self) -> [u8; COUNT] {
        const { assert!(COUNT <= STOCK_BYTES, "an id is far smaller") };
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.used + COUNT > STOCK_BYTES {
            self.entropy.fill(&mut stock.bytes);
            stock.used = 0;
        }
        let mut id = [0; COUNT];
        let from = stock.used;
        stock.used += COUNT;
        id.copy_from_slice(&stock.bytes[from..from + COUNT]);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn no_id_comes_twice_also_over_the_end_of_a_stock() {
        let ids = Ids::new(Arc::new(SystemEntropy));
        let mut seen = HashSet::new();
        for _ in 0..STOCK_BYTES / 8 {
            let long: [u8; 16] = ids.next();
            assert!(seen.insert(long[..8].to_vec()), "{long:?}");
            assert!(seen.insert(long[8..].to_vec()), "{long:?}");
            assert!(seen.insert(ids.next::<8>().to_vec()));
        }
    }
}
