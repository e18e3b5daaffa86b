//! Progress through one partition as a value: offsets are finished in any order, and progress is what is contiguous.

use std::collections::VecDeque;

/// The records of one partition that are in flight.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    in_flight: VecDeque<(i64, bool)>,
}

impl Acknowledgements {
    /// A record was delivered. Offsets grow from call to call; one that does not is a redelivery from an earlier
    /// point, and what was in flight before it is forgotten.
    pub fn begin(&mut self, offset: i64) {
        if self.in_flight.back().is_some_and(|(last, _)| offset <= *last) {
            self.in_flight.clear();
        }
        self.in_flight.push_back((offset, false));
    }

    /// A record was dealt with. Returns the offset to store, if progress was made: everything before it is done.
    /// An offset that is not in flight is ignored.
    pub fn finish(&mut self, offset: i64) -> Option<i64> {
        let place = self.in_flight.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        self.in_flight[place].1 = true;
        let mut next = None;
        while let Some((offset, true)) = self.in_flight.front() {
            next = Some(offset + 1);
            self.in_flight.pop_front();
        }
        next
    }

    /// The last of them.
    pub fn last(&self) -> Option<i64> {
        self.in_flight.back().map(|(offset, _)| *offset)
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Acknowledgements;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_offset_is_stored_only_when_all_before_it_are_done(
            gaps in prop::collection::vec(1_i64..4, 1..40),
            order in any::<prop::sample::Index>().prop_flat_map(|_| Just(())),
            seed in any::<u64>(),
        ) {
            let () = order;
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut shuffled = offsets.clone();
            let mut state = seed;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            let mut acknowledgements = Acknowledgements::default();
            for offset in &offsets {
                acknowledgements.begin(*offset);
            }
            let mut done = Vec::new();
            let mut stored = 0;
            for offset in shuffled {
                done.push(offset);
                if let Some(next) = acknowledgements.finish(offset) {
                    prop_assert!(next > stored, "progress went back from {stored} to {next}");
                    prop_assert!(offsets.iter().all(|o| *o >= next || done.contains(o)), "{next} skips an open record");
                    stored = next;
                }
                prop_assert_eq!(acknowledgements.finish(offset), None, "finishing twice");
            }
            prop_assert_eq!(stored, offsets.last().unwrap() + 1);
            prop_assert!(acknowledgements.is_idle());
        }
    }

    #[test]
    fn a_redelivery_begins_anew() {
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.begin(5);
        acknowledgements.begin(6);
        acknowledgements.begin(5);
        assert_eq!(acknowledgements.finish(6), None);
        assert_eq!(acknowledgements.finish(5), Some(6));
    }
}
