//! The indices of an array, as ranges with steps, and the place of each: its ordinal, from 0 in ascending order.
//!
//! Invariant: ranges ascend and do not overlap, so an index has one place.

use crate::jobspec::ArraySpec;
use serde::{Deserialize, Serialize};

/// The indices of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indices {
    ranges: Vec<Stepped>,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stepped {
    first: u32,
    last: u32,
    step: u32,
    /// The place of the first.
    base: u32,
}

impl Stepped {
    fn len(&self) -> u32 {
        (self.last - self.first) / self.step + 1
    }
}

impl Indices {
    /// The indices that `spec` names; none when there are more than `most`, when there is none, or a range is empty.
    pub fn new(spec: &ArraySpec, most: u32) -> Option<Indices> {
        let mut ranges = Vec::with_capacity(spec.ranges.len());
        let mut asked = 0_u64;
        for &(first, last, step) in &spec.ranges {
            if last < first || step == 0 {
                return None;
            }
            let last = first + (last - first) / step * step;
            asked += u64::from((last - first) / step) + 1;
            ranges.push(Stepped { first, last, step, base: 0 });
        }
        // An index that is named twice counts once, but a request may not name more than the limit either way.
        if asked == 0 || asked > u64::from(most) {
            return None;
        }
        ranges.sort_unstable_by_key(|range| range.first);
        if ranges.windows(2).any(|pair| pair[1].first <= pair[0].last) {
            ranges = merged(spec);
        }
        let mut len = 0;
        for range in &mut ranges {
            range.base = len;
            len += range.len();
        }
        Some(Indices { ranges, len })
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none, which cannot be.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index at a place.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn index(&self, ordinal: u32) -> u32 {
        assert!(ordinal < self.len, "place {ordinal} of {}", self.len);
        let range = &self.ranges[self.ranges.partition_point(|range| range.base <= ordinal) - 1];
        range.first + (ordinal - range.base) * range.step
    }

    /// The place of an index; none when the array has no such element.
    pub fn ordinal(&self, index: u32) -> Option<u32> {
        let range = self.ranges[..self.ranges.partition_point(|range| range.first <= index)].last()?;
        let within = index <= range.last && (index - range.first).is_multiple_of(range.step);
        within.then(|| range.base + (index - range.first) / range.step)
    }

    /// First and last place of the indices from `first` to `last`; none when the array has none of them.
    pub fn span(&self, first: u32, last: u32) -> Option<(u32, u32)> {
        let begin = self.places_below(u64::from(first));
        let end = self.places_below(u64::from(last) + 1);
        (begin < end).then(|| (begin, end - 1))
    }

    /// How many indices are below `index`.
    fn places_below(&self, index: u64) -> u32 {
        let at = self.ranges.partition_point(|range| u64::from(range.first) < index);
        let Some(range) = self.ranges[..at].last() else { return 0 };
        let inside = (index - 1).min(u64::from(range.last)) - u64::from(range.first);
        range.base + (inside / u64::from(range.step)) as u32 + 1
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Stepped>()
    }
}

/// Ranges that overlap, made anew from their indices.
fn merged(spec: &ArraySpec) -> Vec<Stepped> {
    let mut ranges: Vec<Stepped> = Vec::new();
    for index in spec.indices() {
        match ranges.last_mut() {
            Some(range) if range.first == range.last => {
                (range.step, range.last) = (index - range.first, index);
            }
            Some(range) if index - range.last == range.step => range.last = index,
            _ => ranges.push(Stepped { first: index, last: index, step: 1, base: 0 }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_and_indices_are_one_to_one(
            ranges in prop::collection::vec((0_u32..60, 0_u32..60, 1_u32..9), 1..5),
            (a, b) in (0_u32..130, 0_u32..130),
        ) {
            let ranges = ranges.into_iter().map(|(first, more, step)| (first, first + more, step)).collect();
            let spec = ArraySpec { ranges, throttle: None };
            let indices = Indices::new(&spec, 1000).unwrap();
            let all = spec.indices();
            prop_assert_eq!(indices.len() as usize, all.len());
            for (ordinal, &index) in all.iter().enumerate() {
                prop_assert_eq!(indices.index(ordinal as u32), index);
            }
            for index in 0..130 {
                let place = all.binary_search(&index).ok().map(|at| at as u32);
                prop_assert_eq!(indices.ordinal(index), place);
            }
            let (first, last) = (a.min(b), a.max(b));
            let inside: Vec<u32> = (0..all.len() as u32).filter(|&i| (first..=last).contains(&all[i as usize])).collect();
            prop_assert_eq!(indices.span(first, last), inside.first().map(|&f| (f, inside[inside.len() - 1])));
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let spec = |ranges: &[(u32, u32, u32)]| ArraySpec { ranges: ranges.to_vec(), throttle: None };
        assert_eq!(Indices::new(&spec(&[]), 10), None);
        assert_eq!(Indices::new(&spec(&[(3, 2, 1)]), 10), None);
        assert_eq!(Indices::new(&spec(&[(0, 5, 0)]), 10), None);
        assert_eq!(Indices::new(&spec(&[(0, 10, 1)]), 10), None);
        assert_eq!(Indices::new(&spec(&[(0, u32::MAX, 1), (0, u32::MAX, 1)]), u32::MAX), None);
        assert_eq!(Indices::new(&spec(&[(0, u32::MAX, 1 << 30)]), 10).map(|i| i.len()), Some(4));
    }
}
