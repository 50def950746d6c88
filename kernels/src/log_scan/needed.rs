//! Texts of which every match has one, inside it: where they are rare, the lines without them need not be looked at.
//!
//! The library finds texts that a match begins with by itself. In `^\S+ .*" 500 ` the text lies in the middle: a tile is
//! searched for it, and the expression is tried on the lines that have it. Which texts are rare the tile shows; the
//! answer does not depend on them.

use memchr::{memchr, memrchr};
use regex_automata::util::prefilter::Prefilter;
use regex_automata::{MatchKind, Span};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};
use std::ops::Range;

/// Shorter texts are everywhere.
const SHORTEST: usize = 2;
/// More texts are no quicker to find than the expression.
const MOST: usize = 32;
/// So many bytes of a tile show how frequent texts are.
const SAMPLE: usize = 32 << 10;
/// Texts that are found more often than once in so many bytes do not help.
const RARE: usize = 512;

/// Sets of texts: every match has a text of each set.
#[derive(Debug)]
pub(super) struct Needed(Vec<Prefilter>);

impl Needed {
    /// What every match of an expression has; nothing where it begins with such texts.
    pub(super) fn of(hir: &Hir) -> Needed {
        let mut parts = Vec::new();
        flatten(hir, &mut parts);
        let texts = |from: usize| {
            let found = Extractor::new().extract(&Hir::concat(parts[from..].to_vec()));
            let usable = found.min_literal_len()? >= SHORTEST && found.len()? <= MOST;
            let texts: Vec<&[u8]> = found.literals()?.iter().map(|text| text.as_bytes()).collect();
            if usable { Prefilter::new(MatchKind::LeftmostFirst, &texts) } else { None }
        };
        match texts(0) {
            Some(_) => Needed(Vec::new()),
            None => Needed((1..parts.len()).filter_map(texts).collect()),
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[Prefilter] {
        &self.0
    }

    /// Those that are rarest in a tile, if they are rare.
    pub(super) fn rarest(&self, tile: &[u8]) -> Option<&Prefilter> {
        let sample = &tile[..tile.len().min(SAMPLE)];
        let hits = |texts: &&Prefilter| {
            let (mut hits, mut at) = (0, 0);
            while let Some(found) = texts.find(sample, Span { start: at, end: sample.len() }) {
                (hits, at) = (hits + 1, found.end);
            }
            hits
        };
        let (hits, texts) = self.0.iter().map(|texts| (hits(&texts), texts)).min_by_key(|&(hits, _)| hits)?;
        (hits * RARE <= sample.len()).then_some(texts)
    }
}

/// The first line from `at`, a line's start, that has one of these texts.
pub(super) fn next_line(tile: &[u8], at: usize, texts: &Prefilter) -> Option<Range<usize>> {
    let found = texts.find(tile, Span { start: at.min(tile.len()), end: tile.len() })?;
    let start = memrchr(b'\n', &tile[at..found.start]).map_or(at, |end| at + end + 1);
    let end = memchr(b'\n', &tile[found.end..]).map_or(tile.len(), |end| found.end + end);
    Some(start..end)
}

/// The parts that an expression has one behind the other.
fn flatten(hir: &Hir, parts: &mut Vec<Hir>) {
    match hir.kind() {
        HirKind::Concat(subs) => subs.iter().for_each(|sub| flatten(sub, parts)),
        HirKind::Capture(capture) => flatten(&capture.sub, parts),
        _ => parts.push(hir.clone()),
    }
}
