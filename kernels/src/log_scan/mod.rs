//! The kernel `log-scan`: lines of text that match a regular expression, counted, also for each captured text.
//!
//! Step 10 of a job's way (DESIGN section 4). A tile of many lines is searched whole: the library's automata and literal
//! searches run at the speed of memory where a match is rare, and a line's end is looked for only behind a match.

mod answer;
mod chain;
mod class;
mod counts;
mod ends;
mod expression;
mod keys;
mod needed;
mod text;

pub use answer::LogScanAnswer;
pub use counts::LogScanPartial;

use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Order, Partial, Work};
use crate::simd::Simd;
use chain::{Chain, Start, Tried};
use ends::Ends;
use expression::Expression;
use memchr::memchr;
use muster_spec::log_scan::LogScanSpec;
use muster_spec::quantity::InputPath;
use muster_spec::{Class, Grid, Problem, Problems};
use needed::{Needed, next_line};
use regex_automata::Input as Search;
use regex_automata::meta::Cache;
use regex_automata::util::captures::Captures;
use regex_automata::util::prefilter::Prefilter;
use std::ops::Range;
use std::sync::Mutex;
use text::Text;

/// The kernel, ready to fold.
#[derive(Debug)]
pub struct LogScan {
    text: Text,
    expression: Expression,
    /// The expression as a chain, where it is one, and groups are wanted or it begins with a text.
    chain: Option<Chain>,
    /// What matches have, where it is not a chain.
    needed: Needed,
    /// The numbers of the groups that make a key.
    groups: Vec<usize>,
    grid: Grid,
    top: Option<u64>,
    max_groups: u64,
    names: Vec<String>,
    /// What searches need, kept from block to block.
    scratch: Mutex<Vec<Scratch>>,
}

#[derive(Debug)]
struct Scratch {
    simd: Simd,
    tile: Vec<u8>,
    cache: Cache,
    captures: Captures,
    spans: Vec<Range<usize>>,
}

impl LogScan {
    /// Counts the lines of a tile that match, for each key if there are groups; a sum over their keys. Lines without a
    /// text that is `needed` are not looked at.
    fn scan(
        &self,
        tile: &[u8],
        needed: Option<&Prefilter>,
        scratch: &mut Scratch,
        to: &mut LogScanPartial,
    ) -> u64 {
        if let Some(chain) = &self.chain {
            return match chain.start() {
                Start::Line => self.follow_lines(chain, tile, scratch, to),
                Start::Text(_) | Start::Texts(_) => self.follow(chain, tile, scratch, to),
            };
        }
        let mut part = |part: Range<usize>| self.part(tile, part, scratch, to);
        let Some(texts) = needed else { return part(0..tile.len()) };
        let (mut print, mut at) = (0u64, 0);
        while let Some(line) = next_line(tile, at, texts) {
            at = line.end + 1;
            print = print.wrapping_add(part(line));
        }
        print
    }

    /// Counts the lines that match in a part of a tile.
    fn count(&self, tile: &[u8], part: Range<usize>, cache: &mut Cache) -> u64 {
        let (mut lines, mut at) = (0, part.start);
        let regex = &self.expression.regex;
        // The first match to end lies in the first line that has one.
        let search = |at: usize| Search::new(tile).range(at..part.end).earliest(true);
        while let Some(found) = regex.search_half_with(cache, &search(at)) {
            lines += 1;
            match memchr(b'\n', &tile[found.offset()..part.end]) {
                Some(end) => at = found.offset() + end + 1,
                None => break,
            }
        }
        lines
    }

    /// Counts the lines of a tile, for each key if there are groups, by a chain that begins with a text.
    fn follow(&self, chain: &Chain, tile: &[u8], scratch: &mut Scratch, to: &mut LogScanPartial) -> u64 {
        let line_end = |at: usize| memchr(b'\n', &tile[at..]).map_or(tile.len(), |end| at + end);
        let (mut print, mut at) = (0u64, 0);
        while at <= tile.len() {
            let Some(start) = chain.next(tile, at) else { break };
            at = 1 + match chain.at(tile, start, &mut scratch.spans) {
                Tried::Match(end) => {
                    print = print.wrapping_add(self.note(tile, start..end, &scratch.spans, to));
                    line_end(end)
                }
                Tried::Nothing => start,
                Tried::Unsure => {
                    let end = line_end(start);
                    print = print.wrapping_add(self.part(tile, start..end, scratch, to));
                    end
                }
            };
        }
        print
    }

    /// The same for a chain that begins with a line: every line is tried, so that their ends are found together.
    fn follow_lines(
        &self,
        chain: &Chain,
        tile: &[u8],
        scratch: &mut Scratch,
        to: &mut LogScanPartial,
    ) -> u64 {
        let (mut print, mut at, mut ends) = (0u64, 0, Ends::of(tile, scratch.simd));
        while at <= tile.len() {
            let end = ends.next();
            let more = match chain.at(tile, at, &mut scratch.spans) {
                Tried::Match(last) => self.note(tile, at..last, &scratch.spans, to),
                Tried::Nothing => 0,
                Tried::Unsure => self.part(tile, at..end, scratch, to),
            };
            print = print.wrapping_add(more);
            at = end + 1;
        }
        print
    }

    /// Counts a line with a match of the chain; the hash of its key.
    #[inline(always)]
    fn note(&self, tile: &[u8], found: Range<usize>, spans: &[Range<usize>], to: &mut LogScanPartial) -> u64 {
        if self.groups.is_empty() {
            to.lines += 1;
            return 0;
        }
        let span = |&group: &usize| Some(if group == 0 { found.clone() } else { spans[group].clone() });
        to.count(tile, self.groups.iter().map(span))
    }

    /// Counts the lines that match in a part of a tile, for each key if there are groups, by the library.
    fn part(&self, tile: &[u8], part: Range<usize>, scratch: &mut Scratch, to: &mut LogScanPartial) -> u64 {
        if !self.groups.is_empty() {
            return self.search(tile, part, scratch, to);
        }
        to.lines += self.count(tile, part, &mut scratch.cache);
        0
    }

    /// Counts lines for each key by the library, in a part of a tile.
    fn search(&self, tile: &[u8], part: Range<usize>, scratch: &mut Scratch, to: &mut LogScanPartial) -> u64 {
        let (mut print, mut at) = (0u64, part.start);
        let captures = &mut scratch.captures;
        loop {
            let search = Search::new(tile).range(at..part.end);
            self.expression.regex.search_captures_with(&mut scratch.cache, &search, captures);
            let Some(found) = captures.get_match() else { return print };
            let groups = self.groups.iter().map(|&group| captures.get_group(group).map(|span| span.range()));
            print = print.wrapping_add(to.count(tile, groups));
            match memchr(b'\n', &tile[found.end()..part.end]) {
                Some(end) => at = found.end() + end + 1,
                None => return print,
            }
        }
    }

    fn fresh(&self, simd: Simd) -> Scratch {
        let regex = &self.expression.regex;
        let captures = regex.create_captures();
        let spans = vec![0..0; regex.captures_len()];
        Scratch { simd, tile: Vec::new(), cache: regex.create_cache(), captures, spans }
    }

    fn too_many(&self) -> Problem {
        Problem::new("--max-groups", format!("is {}, and there are more texts", self.max_groups))
            .hint("raise it if memory allows, or capture less")
    }
}

impl Kernel for LogScan {
    type Spec = LogScanSpec;
    type Partial = LogScanPartial;
    type Answer = LogScanAnswer;

    const NAME: &'static str = "log-scan";

    fn resolve(mut spec: LogScanSpec) -> Result<LogScanSpec, Problems> {
        let mut problems = spec.problems();
        match Expression::new(&spec).map(|expression| expression.groups(&spec.group_by)) {
            Ok(Ok(_)) => {}
            Ok(Err(more)) => problems.extend(more.0),
            Err(problem) => problems.push(problem),
        }
        match crate::files::find(&spec.files) {
            Ok(files) => spec.files = files.into_iter().map(InputPath).collect(),
            Err(more) => problems.extend(more.0),
        }
        Problems::check(problems)?;
        Ok(spec)
    }

    fn prepare(spec: &LogScanSpec) -> Result<Self, Problems> {
        Problems::check(spec.problems())?;
        let expression = Expression::new(spec)?;
        let groups = expression.groups(&spec.group_by)?;
        let text = Text::open(spec.files.iter().map(|file| file.0.clone()))?;
        // For lines alone the library is quicker at what begins with a line, as it looks for texts inside.
        let helps = |chain: &Chain| !groups.is_empty() || !matches!(chain.start(), Start::Line);
        Ok(LogScan {
            grid: spec.grid(text.bytes()),
            chain: Chain::of(&expression.hir).filter(helps),
            needed: Needed::of(&expression.hir),
            groups,
            text,
            expression,
            top: spec.top,
            max_groups: spec.max_groups,
            names: spec.group_by.clone(),
            scratch: Mutex::default(),
        })
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn order(&self) -> Order {
        if self.groups.is_empty() { Order::Free } else { Order::Running }
    }

    fn work(&self) -> Work {
        Work { total: self.text.bytes() as f64, unit: "bytes".into() }
    }

    fn inputs(&self) -> Vec<Input> {
        self.text.inputs()
    }

    fn fold(&self, block: u32, cx: &mut Fold) -> Result<LogScanPartial, Problems> {
        let mut folded = None;
        self.add(block, cx, &mut folded)?;
        Ok(folded.expect("a block was added"))
    }

    fn add(&self, block: u32, cx: &mut Fold, to: &mut Option<LogScanPartial>) -> Result<(), Problems> {
        let taken = self.scratch.lock().expect("nobody panics with it").pop();
        let mut scratch = taken.unwrap_or_else(|| self.fresh(cx.simd));
        let mut partial = to.take().unwrap_or_default();
        let (before, mut print, mut needed) = (partial.lines, 0u64, None);
        let mut tile = std::mem::take(&mut scratch.tile);
        let range = self.grid.share(self.text.bytes(), block);
        self.text.lines(range, cx.tile_bytes, &mut tile, &mut |lines| {
            let needed = *needed.get_or_insert_with(|| self.needed.rarest(lines));
            print = print.wrapping_add(self.scan(lines, needed, &mut scratch, &mut partial));
            if partial.keys() > self.max_groups { Err(self.too_many().into()) } else { Ok(()) }
        })?;
        partial.settle();
        scratch.tile = tile;
        self.scratch.lock().expect("nobody panics with it").push(scratch);
        cx.note_read(&(partial.lines - before).to_le_bytes());
        cx.note_read(&print.to_le_bytes());
        *to = Some(partial);
        Ok(())
    }

    fn merge(&self, left: LogScanPartial, right: LogScanPartial) -> Result<LogScanPartial, Problems> {
        let merged = left.merge(right);
        if merged.keys() > self.max_groups { Err(self.too_many().into()) } else { Ok(merged) }
    }

    fn finish(&self, root: LogScanPartial) -> Result<LogScanAnswer, Problems> {
        Ok(LogScanAnswer::of(&root, &self.names, self.text.bytes(), self.top))
    }
}

#[cfg(test)]
mod tests;
