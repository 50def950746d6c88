//! Expressions that are matched in one go: a chain of literals and runs of bytes in which nothing has to be tried twice.
//!
//! Most expressions for log lines are of this kind: `^(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)`. A run of a class ends where
//! the next byte cannot be the class's, and what follows a run begins with no byte of it; so the longest run is the only
//! one that can lead on, and captures are where the links begin and end. Everything else is left to the library, and so
//! are lines where a run of a class that has characters beyond ASCII ends at such a byte.

use super::class::ByteSet;
use memchr::memmem::Finder;
use regex_automata::util::prefilter::Prefilter;
use regex_automata::{MatchKind, Span};
use regex_syntax::hir::{Hir, HirKind, Look};
use std::ops::Range;

/// A chain.
#[derive(Debug)]
pub(super) struct Chain {
    start: Start,
    links: Vec<Link>,
}

/// Where a match can begin.
#[derive(Debug)]
pub(super) enum Start {
    /// With a line.
    Line,
    /// With this text.
    Text(Box<Finder<'static>>),
    /// With one of several.
    Texts(Prefilter),
}

/// What comes of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// A match ends here.
    Match(usize),
    Nothing,
    /// The library has to tell.
    Unsure,
}

#[derive(Debug)]
enum Link {
    /// One of these texts, none of which begins another.
    Text(Vec<Word>),
    /// Bytes of a set, as many as there are.
    Run(Box<Run>),
    LineEnd,
    /// A group begins or ends.
    Open(usize),
    Close(usize),
}

/// A text, with its first bytes as they are compared: a call for two or three bytes takes longer than they do.
#[derive(Debug)]
struct Word {
    text: Box<[u8]>,
    first: u64,
    mask: u64,
}

impl Word {
    fn new(text: &[u8]) -> Word {
        let length = text.len().min(8);
        let mut first = [0; 8];
        first[..length].copy_from_slice(&text[..length]);
        let mask = u64::MAX.checked_shr(8 * (8 - length) as u32).unwrap_or(0);
        Word { text: text.into(), first: u64::from_le_bytes(first), mask }
    }

    /// Whether `text` begins with it.
    #[inline(always)]
    fn begins(&self, text: &[u8]) -> bool {
        match text.split_first_chunk::<8>() {
            Some((first, rest)) => {
                u64::from_le_bytes(*first) & self.mask == self.first
                    && (self.text.len() <= 8 || rest.starts_with(&self.text[8..]))
            }
            None => text.starts_with(&self.text),
        }
    }
}

#[derive(Debug)]
struct Run {
    set: ByteSet,
    /// Whether the class has characters beyond ASCII.
    wide: bool,
    least: usize,
    most: Option<usize>,
    /// The group that is this run and no more: it takes no links of its own, as most groups are such.
    group: Option<usize>,
}

impl Chain {
    /// The chain that an expression is, if it is one.
    pub(super) fn of(hir: &Hir) -> Option<Chain> {
        let mut parts = Vec::new();
        flatten(hir, &mut parts)?;
        let (mut links, mut start) = (Vec::new(), None);
        for part in parts {
            match part {
                Part::LineStart if start.is_none() && links.iter().all(Link::is_mark) => {
                    start = Some(Start::Line)
                }
                Part::LineStart => return None,
                Part::Link(link) => links.push(link),
            }
        }
        let start = match (start, links.iter().find(|link| !link.is_mark())?) {
            (Some(start), _) => start,
            (None, Link::Text(texts)) => match &texts[..] {
                [only] => Start::Text(Box::new(Finder::new(&only.text).into_owned())),
                _ => {
                    let texts: Vec<&[u8]> = texts.iter().map(|word| &*word.text).collect();
                    Start::Texts(Prefilter::new(MatchKind::LeftmostFirst, &texts)?)
                }
            },
            _ => return None,
        };
        let sure = (0..links.len()).all(|i| match &links[i] {
            Link::Run(run) => run.is_sure_before(&links[i + 1..]),
            _ => true,
        });
        sure.then_some(Chain { start, links })
    }

    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// Where from `at` on a match may begin: `at` itself where that is a line's start.
    #[inline]
    pub(super) fn next(&self, text: &[u8], at: usize) -> Option<usize> {
        match &self.start {
            Start::Line => Some(at),
            Start::Text(finder) => finder.find(&text[at..]).map(|found| at + found),
            Start::Texts(texts) => {
                texts.find(text, Span { start: at, end: text.len() }).map(|found| found.start)
            }
        }
    }

    /// Tries to match from `at` on; the groups of a match are in `spans`.
    #[inline]
    pub(super) fn at(&self, text: &[u8], mut at: usize, spans: &mut [Range<usize>]) -> Tried {
        for link in &self.links {
            match link {
                Link::Text(texts) => match texts.iter().find(|word| word.begins(&text[at..])) {
                    Some(word) => at += word.text.len(),
                    None => return Tried::Nothing,
                },
                Link::Run(run) => {
                    let end = run.end(text, at);
                    if run.wide && text.get(end).is_some_and(|byte| !byte.is_ascii()) {
                        return Tried::Unsure;
                    }
                    if end - at < run.least {
                        return Tried::Nothing;
                    }
                    if let Some(group) = run.group {
                        spans[group] = at..end;
                    }
                    at = end;
                }
                Link::LineEnd if text.get(at).is_none_or(|&byte| byte == b'\n') => {}
                Link::LineEnd => return Tried::Nothing,
                Link::Open(group) => spans[*group].start = at,
                Link::Close(group) => spans[*group].end = at,
            }
        }
        Tried::Match(at)
    }
}

impl Link {
    fn is_mark(&self) -> bool {
        matches!(self, Link::Open(_) | Link::Close(_))
    }
}

impl Run {
    /// Where the run from `at` ends.
    #[inline]
    fn end(&self, text: &[u8], at: usize) -> usize {
        let Some(most) = self.most else { return self.set.run_end(text, at) };
        let upto = text.len().min(at + most);
        (at..upto).find(|&i| !self.set.has(text[i])).unwrap_or(upto)
    }

    /// Whether the longest run is the only one that can be followed by these links.
    fn is_sure_before(&self, links: &[Link]) -> bool {
        if self.most == Some(self.least) {
            return true;
        }
        for link in links {
            match link {
                Link::Text(texts) => return texts.iter().all(|word| !self.set.has(word.text[0])),
                Link::Run(next) if !self.set.disjoint(&next.set) => return false,
                Link::Run(next) if next.least > 0 => return true,
                // No class has a line feed.
                Link::LineEnd => return true,
                Link::Run(_) | Link::Open(_) | Link::Close(_) => {}
            }
        }
        true
    }
}

/// What an expression is made of, one behind the other.
enum Part {
    LineStart,
    Link(Link),
}

fn flatten(hir: &Hir, parts: &mut Vec<Part>) -> Option<()> {
    let part = match hir.kind() {
        HirKind::Empty => return Some(()),
        HirKind::Literal(text) => Link::Text(vec![Word::new(&text.0)]),
        HirKind::Class(_) => Link::Run(run(hir, 1, Some(1))?),
        HirKind::Look(Look::StartLF) => {
            parts.push(Part::LineStart);
            return Some(());
        }
        HirKind::Look(Look::EndLF) => Link::LineEnd,
        HirKind::Look(_) => return None,
        HirKind::Repetition(repetition) => {
            let (least, most) = (repetition.min as usize, repetition.max.map(|most| most as usize));
            if !repetition.greedy && most != Some(least) {
                return None;
            }
            Link::Run(run(&repetition.sub, least, most)?)
        }
        HirKind::Capture(capture) => {
            let (group, open) = (capture.index as usize, parts.len());
            parts.push(Part::Link(Link::Open(group)));
            flatten(&capture.sub, parts)?;
            if let [Part::Link(Link::Run(run))] = &mut parts[open + 1..]
                && run.group.is_none()
            {
                run.group = Some(group);
                parts.remove(open);
                return Some(());
            }
            Link::Close(group)
        }
        HirKind::Concat(subs) => return subs.iter().try_for_each(|sub| flatten(sub, parts)),
        HirKind::Alternation(subs) => {
            let text = |sub: &Hir| match sub.kind() {
                HirKind::Literal(text) => Some(text.0.clone()),
                _ => None,
            };
            let texts = subs.iter().map(text).collect::<Option<Vec<_>>>()?;
            let begun = |a: &[u8]| texts.iter().filter(|b| b.starts_with(a)).count();
            if texts.iter().any(|text| begun(text) > 1) {
                return None;
            }
            Link::Text(texts.iter().map(|text| Word::new(text)).collect())
        }
    };
    parts.push(Part::Link(part));
    Some(())
}

/// Repetitions of a class, or of one byte.
fn run(hir: &Hir, least: usize, most: Option<usize>) -> Option<Box<Run>> {
    let (set, wide) = match hir.kind() {
        HirKind::Class(class) => ByteSet::of(class),
        HirKind::Literal(text) if text.0.len() == 1 && text.0[0].is_ascii() => {
            (ByteSet::listed(&text.0), false)
        }
        _ => return None,
    };
    Some(Box::new(Run { set, wide, least, most, group: None }))
}
