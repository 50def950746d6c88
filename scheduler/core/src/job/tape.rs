//! A row of small codes, kept as runs of equal ones: the elements of an array, a million of them in a few bytes.
//!
//! Invariants: neighbouring runs of a chunk differ, so equal rows are equal values; `counts[c]` is how often `c` stands in
//! the row. Whatever is done to it, a place costs at most four bytes and a bit.

use serde::{Deserialize, Serialize};

/// Places in one chunk: few enough that a change moves little, so many that a million places are few chunks.
const CHUNK: u32 = 4096;

/// So many places in a row, each with a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    len: u32,
    chunks: Vec<Chunk>,
    counts: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chunk {
    /// Ascending by last place.
    runs: Vec<Run>,
    /// Bit `min(code, 63)` is set when the code stands here.
    codes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Its last place, within the chunk.
    last: u16,
    code: u16,
}

impl Tape {
    /// So many places that all have `code`.
    pub fn new(len: u32, code: u16) -> Tape {
        let chunk = |at: u32| Chunk {
            runs: vec![Run { last: ((len - at).min(CHUNK) - 1) as u16, code }],
            codes: bit(code),
        };
        let mut counts = vec![0; usize::from(code) + 1];
        counts[usize::from(code)] = len;
        Tape { len, chunks: (0..len).step_by(CHUNK as usize).map(chunk).collect(), counts }
    }

    /// How many places there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many places have `code`.
    pub fn count(&self, code: u16) -> u32 {
        self.counts.get(usize::from(code)).copied().unwrap_or(0)
    }

    /// The code at a place.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn get(&self, at: u32) -> u16 {
        assert!(at < self.len, "place {at} of {}", self.len);
        let chunk = &self.chunks[(at / CHUNK) as usize];
        chunk.runs[chunk.find((at % CHUNK) as u16)].code
    }

    /// Gives a place another code.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn set(&mut self, at: u32, code: u16) {
        self.fill(at, at, code);
    }

    /// Gives all places from `first` to `last` a code.
    ///
    /// # Panics
    ///
    /// When there are no such places.
    pub fn fill(&mut self, first: u32, last: u32, code: u16) {
        assert!(first <= last && last < self.len, "places {first} to {last} of {}", self.len);
        if self.counts.len() <= usize::from(code) {
            self.counts.resize(usize::from(code) + 1, 0);
        }
        for number in first / CHUNK..=last / CHUNK {
            let base = number * CHUNK;
            let from = first.max(base) - base;
            let to = last.min(base + CHUNK - 1) - base;
            self.chunks[number as usize].fill((from as u16, to as u16), code, &mut self.counts);
        }
    }

    /// The first place from `from` on that has `code`.
    pub fn first(&self, from: u32, code: u16) -> Option<u32> {
        let start = (from / CHUNK) as usize;
        let chunks = self.chunks.iter().enumerate().skip(start).filter(|(_, c)| c.codes & bit(code) != 0);
        chunks.into_iter().find_map(|(number, chunk)| {
            let base = number as u32 * CHUNK;
            chunk
                .spans()
                .find(|&(_, last, c)| c == code && base + last >= from)
                .map(|(first, ..)| (base + first).max(from))
        })
    }

    /// The runs of equal codes, as first and last place and code, in order.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32, u16)> + '_ {
        let mut spans = self
            .chunks
            .iter()
            .zip((0..).step_by(CHUNK as usize))
            .flat_map(|(chunk, base)| {
                chunk.spans().map(move |(first, last, code)| (base + first, base + last, code))
            })
            .peekable();
        std::iter::from_fn(move || {
            let (first, mut last, code) = spans.next()?;
            while let Some(next) = spans.next_if(|next| next.2 == code) {
                last = next.1;
            }
            Some((first, last, code))
        })
    }

    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>()
            + self.chunks.iter().map(|c| c.runs.capacity() * size_of::<Run>()).sum::<usize>()
            + self.counts.capacity() * size_of::<u32>()
    }
}

impl Chunk {
    /// The run that a place is in.
    fn find(&self, at: u16) -> usize {
        self.runs.partition_point(|run| run.last < at)
    }

    /// First and last place of each run, with its code.
    fn spans(&self) -> impl Iterator<Item = (u32, u32, u16)> + '_ {
        let mut first = 0;
        self.runs.iter().map(move |run| {
            let span = (first, u32::from(run.last), run.code);
            first = span.1 + 1;
            span
        })
    }

    fn fill(&mut self, (from, to): (u16, u16), code: u16, counts: &mut [u32]) {
        let (left, right) = (self.find(from), self.find(to));
        let begins = |i: usize| if i == 0 { 0 } else { self.runs[i - 1].last + 1 };
        let begin = begins(left);
        for i in left..=right {
            let (first, last) = (begins(i).max(from), self.runs[i].last.min(to));
            counts[usize::from(self.runs[i].code)] -= u32::from(last - first) + 1;
        }
        counts[usize::from(code)] += u32::from(to - from) + 1;
        // What is left of the runs that are cut, and the neighbours that now may have the same code.
        let mut new = Vec::with_capacity(5);
        let (mut start, mut end) = (left, right + 1);
        if begin == from && left > 0 {
            start = left - 1;
            new.push(self.runs[start]);
        } else if begin < from {
            new.push(Run { last: from - 1, code: self.runs[left].code });
        }
        new.push(Run { last: to, code });
        if self.runs[right].last > to {
            new.push(self.runs[right]);
        } else if let Some(next) = self.runs.get(end) {
            new.push(*next);
            end += 1;
        }
        for i in (1..new.len()).rev() {
            if new[i].code == new[i - 1].code {
                new.remove(i - 1);
            }
        }
        self.runs.splice(start..end, new);
        if self.runs.capacity() > 16 && self.runs.capacity() / 4 > self.runs.len() {
            self.runs.shrink_to(self.runs.len() * 2);
        }
        self.codes = self.runs.iter().fold(0, |codes, run| codes | bit(run.code));
    }
}

fn bit(code: u16) -> u64 {
    1 << code.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_row_of_codes(
            len in 1_u32..9000,
            changes in prop::collection::vec((0.0..1.0, 0.0..1.0, 0_u16..70), 0..60),
        ) {
            let mut tape = Tape::new(len, 3);
            let mut row = vec![3_u16; len as usize];
            for (a, b, code) in changes {
                let place = |x: f64| ((x * f64::from(len)) as u32).min(len - 1);
                let (first, last) = (place(a).min(place(b)), place(a).max(place(b)));
                // Short runs, too, so that many are next to each other.
                let last = if code % 2 == 0 { last } else { last.min(first + u32::from(code) % 5) };
                tape.fill(first, last, code);
                row[first as usize..=last as usize].fill(code);
            }
            for code in 0..70 {
                prop_assert_eq!(tape.count(code) as usize, row.iter().filter(|c| **c == code).count());
                let from = len / 3;
                let found = row.iter().skip(from as usize).position(|c| *c == code).map(|at| at as u32 + from);
                prop_assert_eq!(tape.first(from, code), found);
            }
            let runs: Vec<_> = tape.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0 && pair[0].2 != pair[1].2));
            let again: Vec<u16> = runs.iter().flat_map(|&(a, b, code)| (a..=b).map(move |_| code)).collect();
            prop_assert_eq!(&again, &row);
            prop_assert!((0..len).all(|at| tape.get(at) == row[at as usize]));
            // Equal rows are equal values, however they came to be.
            let mut direct = Tape::new(len, row[0]);
            for (at, &code) in row.iter().enumerate().rev() {
                direct.set(at as u32, code);
            }
            prop_assert_eq!(&direct.chunks, &tape.chunks);
        }
    }
}
