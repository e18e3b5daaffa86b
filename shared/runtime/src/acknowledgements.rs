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

    /// Offsets that grow, with gaps, and the same in any order.
    fn offsets() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
        let ordered = prop::collection::btree_set(1_i64..160, 1..40).prop_map(|offsets| offsets.into_iter().collect());
        ordered.prop_flat_map(|ordered: Vec<i64>| (Just(ordered.clone()), Just(ordered).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn an_offset_is_stored_only_when_all_before_it_are_done((offsets, shuffled) in offsets()) {
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
