//! In which order several orchestrators are asked for work. Source: wire-protocol §10.6.

use super::config::PollMode;

/// The order of polls; keeps the state of the weighted turn.
pub(super) struct Rotation {
    mode: PollMode,
    weights: Vec<i64>,
    current: Vec<i64>,
}

impl Rotation {
    /// Starts with the orchestrators' weights, in order of their priority.
    pub(super) fn new(mode: PollMode, weights: Vec<i64>) -> Self {
        let current = vec![0; weights.len()];
        Self {
            mode,
            weights,
            current,
        }
    }

    /// Returns the orchestrators to ask now, in order, until one has work.
    pub(super) fn next(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        if self.mode == PollMode::RoundRobin {
            let first = self.turn();
            order.retain(|index| *index != first);
            order.insert(0, first);
        }
        order
    }

    /// Takes a smooth weighted turn: each gains its weight, the largest pays for all.
    fn turn(&mut self) -> usize {
        let mut best = 0;
        for (index, weight) in self.weights.iter().enumerate() {
            self.current[index] += weight;
            if self.current[index] > self.current[best] {
                best = index;
            }
        }
        self.current[best] -= self.weights.iter().sum::<i64>();
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waterfall_keeps_the_order() {
        let mut rotation = Rotation::new(PollMode::Waterfall, vec![1, 5]);
        assert_eq!(rotation.next(), [0, 1]);
        assert_eq!(rotation.next(), [0, 1]);
    }

    #[test]
    fn round_robin_is_smooth() {
        let mut rotation = Rotation::new(PollMode::RoundRobin, vec![5, 1, 1]);
        let firsts: Vec<usize> = (0..7).map(|_| rotation.next()[0]).collect();
        assert_eq!(firsts, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(rotation.next(), [0, 1, 2]);
    }
}
