//! The regular expression: parsed, bound to lines, compiled.
//!
//! A text is searched whole, not line by line, so an expression is first changed into one whose matches lie within a
//! line: no class has a line feed, `\A` and `\z` mean a line's start and end. Then the first match in a text is the
//! first match in its line.

use muster_spec::log_scan::LogScanSpec;
use muster_spec::{Problem, Problems};
use regex_automata::meta::Regex;
use regex_automata::{MatchKind, PatternID};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange};
use regex_syntax::hir::{Hir, HirKind, Look};

/// An expression may take so many bytes when it is compiled.
const COMPILED_BYTES: usize = 64 << 20;
/// Each thread may keep so many bytes of states of the automaton.
const STATES_BYTES: usize = 16 << 20;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    /// Searches.
    pub(super) regex: Regex,
    /// What was compiled.
    pub(super) hir: Hir,
}

impl Expression {
    /// # Errors
    /// Where and why the pattern does not parse, or that it can match a line feed, or is too large.
    pub(super) fn new(spec: &LogScanSpec) -> Result<Expression, Problem> {
        let mut parser = ParserBuilder::new()
            .utf8(false)
            .multi_line(true)
            .unicode(!spec.no_unicode)
            .case_insensitive(spec.ignore_case)
            .build();
        let parsed = parser.parse(&spec.pattern).map_err(|error| misread(&spec.pattern, &error))?;
        let hir = within_lines(parsed).map_err(|what| Problem::new("PATTERN", what))?;
        let config = Regex::config()
            .match_kind(MatchKind::LeftmostFirst)
            .utf8_empty(false)
            .nfa_size_limit(Some(COMPILED_BYTES))
            .onepass_size_limit(Some(COMPILED_BYTES))
            .hybrid_cache_capacity(STATES_BYTES);
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|error| {
            Problem::new("PATTERN", format!("cannot be compiled: {error}"))
                .hint("smaller counts of repetition, or --no-unicode, make it smaller")
        })?;
        Ok(Expression { regex, hir })
    }

    /// The numbers of the groups that are called so, each by name or number.
    ///
    /// # Errors
    /// Every group that is not there, with the nearest, and every one that is named twice.
    pub(super) fn groups(&self, wanted: &[String]) -> Result<Vec<usize>, Problems> {
        let names: Vec<Option<&str>> = self.regex.group_info().pattern_names(PatternID::ZERO).collect();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for name in wanted {
            let by_number = name.parse::<usize>().ok().filter(|&n| n < names.len());
            match by_number.or_else(|| names.iter().position(|n| *n == Some(name))) {
                Some(group) if found.contains(&group) => {
                    problems.push(Problem::new("--group-by", format!("names group '{name}' twice")));
                }
                Some(group) => found.push(group),
                None => problems.push(no_group(name, &names)),
            }
        }
        Problems::check(problems)?;
        Ok(found)
    }
}

fn no_group(wanted: &str, names: &[Option<&str>]) -> Problem {
    let problem = Problem::new("--group-by", format!("the pattern has no group '{wanted}'"));
    let nearest = names.iter().flatten().min_by_key(|name| strsim::levenshtein(name, wanted));
    match (nearest, names.len()) {
        (Some(nearest), _) => problem.hint(format!("the nearest is '{nearest}'")),
        (None, 1) => {
            problem.hint("put parentheses around what is to be captured, or name 0, the whole match")
        }
        (None, many) => problem.hint(format!("its groups are 0 to {}", many - 1)),
    }
}

/// Says where a pattern is wrong, with the line of it and a mark below.
fn misread(pattern: &str, error: &regex_syntax::Error) -> Problem {
    let (what, span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), *error.span()),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), *error.span()),
        other => return Problem::new("PATTERN", format!("does not parse: {other}")),
    };
    let (line, column) = (span.start.line, span.start.column);
    let text = pattern.lines().nth(line - 1).unwrap_or_default();
    let place = if line > 1 { format!("PATTERN:{line}:{column}") } else { format!("PATTERN:{column}") };
    let blank: String = text.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
    Problem::new(place, format!("does not parse: {what}\n    {text}\n    {blank}^"))
}

/// The same expression, with matches that lie within a line.
fn within_lines(hir: Hir) -> Result<Hir, String> {
    let all = |subs: Vec<Hir>| subs.into_iter().map(within_lines).collect::<Result<Vec<_>, _>>();
    Ok(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(text) if text.0.contains(&b'\n') => {
            return Err("wants a line feed, and a match lies within one line".into());
        }
        HirKind::Literal(text) => Hir::literal(text.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(Look::StartCRLF | Look::EndCRLF) => {
            return Err("wants (?R), and lines end at a line feed alone: write \\r?$ for either end".into());
        }
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_lines(*repetition.sub)?);
            Hir::repetition(repetition)
        }
        HirKind::Capture(Capture { index, name, sub }) => {
            Hir::capture(Capture { index, name, sub: Box::new(within_lines(*sub)?) })
        }
        HirKind::Concat(subs) => Hir::concat(all(subs)?),
        HirKind::Alternation(subs) => Hir::alternation(all(subs)?),
    })
}
