//! A shorter list of decisions that still fails.
//!
//! Smaller numbers are plainer, and what follows the list is plain (`overlapped_port::sim`): so a list is cut, made of zeroes in
//! parts, and its numbers are lowered, as long as it fails. It is what Hypothesis does to its choices (MacIver, Donaldson:
//! "Test-case reduction via test-case generation", 2020), without a need to know what they mean.

use super::Decisions;

/// How often the scene is run at most.
const TRIES: usize = 2000;

/// Calls `fails` with lists that are simpler than one that fails; it takes note of those with which it does.
pub fn shrink(decisions: Decisions, fails: impl FnMut(&Decisions) -> bool) {
    let mut search = Search { best: decisions.0, fails, tries: 0 };
    search.cut_end();
    loop {
        let before = search.best.clone();
        search.zero_parts();
        search.lower();
        search.cut_end();
        if search.best == before || search.tries >= TRIES {
            return;
        }
    }
}

struct Search<F> {
    best: Vec<u32>,
    fails: F,
    tries: usize,
}

impl<F: FnMut(&Decisions) -> bool> Search<F> {
    fn accept(&mut self, candidate: Vec<u32>) -> bool {
        if candidate == self.best || self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        let candidate = Decisions(candidate);
        let failed = (self.fails)(&candidate);
        if failed {
            self.best = candidate.0;
        }
        failed
    }

    /// What is plain at the end need not be said; and what is not may have nothing to do with it.
    fn cut_end(&mut self) {
        while self.best.last() == Some(&0) {
            self.best.pop();
        }
        let mut length = self.best.len() / 2;
        while length > 0 {
            if !self.accept(self.best[..self.best.len().saturating_sub(length)].to_vec()) {
                length /= 2;
            }
            length = length.min(self.best.len());
        }
    }

    fn zero_parts(&mut self) {
        let mut length = self.best.len();
        while length > 0 {
            let mut start = 0;
            while start < self.best.len() {
                let mut candidate = self.best.clone();
                let end = (start + length).min(candidate.len());
                candidate[start..end].fill(0);
                self.accept(candidate);
                start += length;
            }
            length /= 2;
        }
    }

    fn lower(&mut self) {
        for place in 0..self.best.len() {
            while place < self.best.len() && self.best[place] > 1 {
                let mut candidate = self.best.clone();
                candidate[place] /= 2;
                if !self.accept(candidate) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a list for which `fails` holds.
    fn shrunk(decisions: Vec<u32>, fails: impl Fn(&[u32]) -> bool) -> Vec<u32> {
        let mut best = decisions.clone();
        shrink(Decisions(decisions), |candidate| {
            let failed = fails(&candidate.0);
            if failed {
                best.clone_from(&candidate.0);
            }
            failed
        });
        best
    }

    #[test]
    fn what_is_needed_is_left() {
        let noise: Vec<u32> = (0..300).map(|number| number * 7919 % 13).collect();
        let place = |list: &[u32], at: usize| list.get(at).copied().unwrap_or(0);
        assert_eq!(shrunk(noise.clone(), |_| true), [0; 0]);
        let one = shrunk(noise.clone(), |list| place(list, 40) > 0);
        assert_eq!((one.len(), one[40], one.iter().sum::<u32>()), (41, 1, 1), "{one:?}");
        let two = shrunk(noise, |list| place(list, 3) > 0 && place(list, 6) > 2);
        assert_eq!((two.len(), two[3]), (7, 1), "{two:?}");
        assert!((3..6).contains(&two[6]), "{two:?}");
    }
}
