//! Which features a job's hosts must have, as Slurm's `--constraint` writes it.
//!
//! `a&b` and `a|b` hold for each host, evaluated from left to right, with parentheses; `[a|b]` for all hosts alike, one
//! of the two; `a*2` for at least two of the hosts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::CharIndices;
use thiserror::Error;

/// What the hosts of one job must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// Each host all of these.
    pub each: Vec<Expr>,
    /// All hosts the same one of these; nothing asked when empty.
    pub one_of: Vec<Expr>,
    /// So many hosts, at least, that have this; a host counts for one of them.
    pub counts: Vec<(Expr, u32)>,
}

/// What one host must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Expr {
    /// A feature.
    Feature(String),
    /// All of these.
    All(Vec<Expr>),
    /// At least one of these.
    Any(Vec<Expr>),
}

impl Expr {
    /// Whether a host with these features has it.
    pub fn holds(&self, features: &BTreeSet<String>) -> bool {
        match self {
            Expr::Feature(name) => features.contains(name),
            Expr::All(parts) => parts.iter().all(|part| part.holds(features)),
            Expr::Any(parts) => parts.iter().any(|part| part.holds(features)),
        }
    }

    /// Puts the names of all features in it into `names`.
    pub(crate) fn features<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Expr::Feature(name) => drop(names.insert(name)),
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| part.features(names)),
        }
    }
}

/// What is wrong with a constraint, and in which column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConstraintError {
    /// Something else should stand there.
    #[error("column {column}: expected {wanted}")]
    Expected {
        /// Where.
        column: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A count, or brackets, where each host is asked alone.
    #[error("column {column}: counts and brackets join with `&` alone, and stand in no parentheses")]
    Misplaced {
        /// Where.
        column: usize,
    },
    /// Brackets with alternatives twice.
    #[error("column {column}: a second `[..|..]`; there can be one")]
    SecondChoice {
        /// Where.
        column: usize,
    },
}

impl Constraint {
    /// Reads one, as in `--constraint`.
    ///
    /// # Errors
    ///
    /// What is wrong first, with its column.
    pub fn parse(text: &str) -> Result<Constraint, ConstraintError> {
        let mut reader = Reader { chars: text.char_indices().peekable(), text };
        let chain = reader.chain()?;
        if let Some(&(at, _)) = reader.chars.peek() {
            return Err(ConstraintError::Expected {
                column: column(text, at),
                wanted: "`&`, `|` or the end",
            });
        }
        let mut constraint = Constraint::default();
        constraint.join(chain)?;
        Ok(constraint)
    }

    /// Adds what a chain outside parentheses asks for.
    fn join(&mut self, chain: Chain) -> Result<(), ConstraintError> {
        if chain.rest.is_empty() || chain.rest.iter().any(|(join, _)| *join == Join::Or) {
            return match chain.first {
                Term { kind: Kind::Plain(_), .. } => {
                    self.each.push(chain.plain()?);
                    Ok(())
                }
                first if chain.rest.is_empty() => self.term(first),
                first => Err(ConstraintError::Misplaced { column: first.column }),
            };
        }
        self.term(chain.first)?;
        chain.rest.into_iter().try_for_each(|(_, term)| self.term(term))
    }

    fn term(&mut self, term: Term) -> Result<(), ConstraintError> {
        match term.kind {
            Kind::Plain(expr) => self.each.push(expr),
            Kind::Counted(expr, count) => self.counts.push((expr, count)),
            Kind::Brackets(chain) if chain.rest.iter().any(|(join, _)| *join == Join::Or) => {
                if chain.rest.iter().any(|(join, _)| *join == Join::And) {
                    self.each.push(chain.plain()?);
                } else if self.one_of.is_empty() {
                    let terms = std::iter::once(chain.first).chain(chain.rest.into_iter().map(|(_, t)| t));
                    self.one_of = terms.map(Term::plain).collect::<Result<_, _>>()?;
                } else {
                    return Err(ConstraintError::SecondChoice { column: term.column });
                }
            }
            Kind::Brackets(chain) => self.join(*chain)?,
        }
        Ok(())
    }
}

/// Terms with what stands between them.
struct Chain {
    first: Term,
    rest: Vec<(Join, Term)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

struct Term {
    column: usize,
    kind: Kind,
}

enum Kind {
    Plain(Expr),
    Counted(Expr, u32),
    Brackets(Box<Chain>),
}

impl Term {
    fn plain(self) -> Result<Expr, ConstraintError> {
        match self.kind {
            Kind::Plain(expr) => Ok(expr),
            _ => Err(ConstraintError::Misplaced { column: self.column }),
        }
    }
}

impl Chain {
    /// What it asks of each host, from left to right.
    fn plain(self) -> Result<Expr, ConstraintError> {
        let mut so_far = self.first.plain()?;
        for (join, term) in self.rest {
            let next = term.plain()?;
            so_far = match (join, so_far) {
                (Join::And, Expr::All(mut parts)) => {
                    parts.push(next);
                    Expr::All(parts)
                }
                (Join::Or, Expr::Any(mut parts)) => {
                    parts.push(next);
                    Expr::Any(parts)
                }
                (Join::And, first) => Expr::All(vec![first, next]),
                (Join::Or, first) => Expr::Any(vec![first, next]),
            };
        }
        Ok(so_far)
    }
}

struct Reader<'a> {
    chars: Peekable<CharIndices<'a>>,
    text: &'a str,
}

impl Reader<'_> {
    fn chain(&mut self) -> Result<Chain, ConstraintError> {
        let first = self.term()?;
        let mut rest = Vec::new();
        loop {
            let join = match self.chars.peek() {
                Some((_, '&')) => Join::And,
                Some((_, '|')) => Join::Or,
                _ => return Ok(Chain { first, rest }),
            };
            self.chars.next();
            rest.push((join, self.term()?));
        }
    }

    fn term(&mut self) -> Result<Term, ConstraintError> {
        let column = self.column();
        let kind = match self.chars.peek().map(|&(_, c)| c) {
            Some('(') => {
                self.chars.next();
                let expr = self.chain()?.plain()?;
                self.close(')', "`)`")?;
                self.counted(expr)?
            }
            Some('[') => {
                self.chars.next();
                let chain = self.chain()?;
                self.close(']', "`]`")?;
                Kind::Brackets(Box::new(chain))
            }
            _ => {
                let expr = Expr::Feature(self.word("a feature")?);
                self.counted(expr)?
            }
        };
        Ok(Term { column, kind })
    }

    fn counted(&mut self, expr: Expr) -> Result<Kind, ConstraintError> {
        if self.chars.next_if(|&(_, c)| c == '*').is_none() {
            return Ok(Kind::Plain(expr));
        }
        let (column, wanted) = (self.column(), "a number of hosts, at least 1");
        let count = self.word(wanted)?.parse().ok().filter(|&count| count > 0);
        Ok(Kind::Counted(expr, count.ok_or(ConstraintError::Expected { column, wanted })?))
    }

    fn word(&mut self, wanted: &'static str) -> Result<String, ConstraintError> {
        let column = self.column();
        let mut word = String::new();
        let inside = |c: char| !"&|*()[],".contains(c) && !c.is_whitespace();
        while let Some((_, c)) = self.chars.next_if(|&(_, c)| inside(c)) {
            word.push(c);
        }
        if word.is_empty() { Err(ConstraintError::Expected { column, wanted }) } else { Ok(word) }
    }

    fn close(&mut self, bracket: char, wanted: &'static str) -> Result<(), ConstraintError> {
        let column = self.column();
        let found = self.chars.next_if(|&(_, c)| c == bracket);
        found.map(|_| ()).ok_or(ConstraintError::Expected { column, wanted })
    }

    fn column(&mut self) -> usize {
        let at = self.chars.peek().map_or(self.text.len(), |&(at, _)| at);
        column(self.text, at)
    }
}

/// The column of the character at a byte of `text`, from 1.
fn column(text: &str, at: usize) -> usize {
    text[..at].chars().count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feature(name: &str) -> Expr {
        Expr::Feature(name.into())
    }

    #[test]
    fn texts_ask_for_features() {
        let (a, b, c) = (feature("a"), feature("b"), feature("c"));
        let all = |parts: &[&Expr]| Expr::All(parts.iter().map(|&part| part.clone()).collect());
        let any = |parts: &[&Expr]| Expr::Any(parts.iter().map(|&part| part.clone()).collect());
        let cases = [
            ("a", vec![a.clone()], vec![], vec![]),
            ("a&b&c", vec![a.clone(), b.clone(), c.clone()], vec![], vec![]),
            ("a|b|c", vec![any(&[&a, &b, &c])], vec![], vec![]),
            ("a&b|c", vec![any(&[&all(&[&a, &b]), &c])], vec![], vec![]),
            ("a|b&c", vec![all(&[&any(&[&a, &b]), &c])], vec![], vec![]),
            ("a&(b|c)", vec![a.clone(), any(&[&b, &c])], vec![], vec![]),
            ("[a|b]", vec![], vec![a.clone(), b.clone()], vec![]),
            ("[a|b]&c", vec![c.clone()], vec![a.clone(), b.clone()], vec![]),
            ("a*4", vec![], vec![], vec![(a.clone(), 4)]),
            ("[a*2&(b|c)*1]", vec![], vec![], vec![(a.clone(), 2), (any(&[&b, &c]), 1)]),
            ("c&[(a&b)*3&c*1]", vec![c.clone()], vec![], vec![(all(&[&a, &b]), 3), (c.clone(), 1)]),
            ("[a&(b|c)]", vec![a.clone(), any(&[&b, &c])], vec![], vec![]),
        ];
        for (text, each, one_of, counts) in cases {
            assert_eq!(Constraint::parse(text), Ok(Constraint { each, one_of, counts }), "{text}");
        }
    }

    #[test]
    fn errors_have_columns() {
        let expected = |column, wanted| ConstraintError::Expected { column, wanted };
        let cases = [
            ("", expected(1, "a feature")),
            ("a&", expected(3, "a feature")),
            ("a,b", expected(2, "`&`, `|` or the end")),
            ("(a|b", expected(5, "`)`")),
            ("[a|b)", expected(5, "`]`")),
            ("ä*0", expected(3, "a number of hosts, at least 1")),
            ("a*", expected(3, "a number of hosts, at least 1")),
            ("a|b*2", ConstraintError::Misplaced { column: 3 }),
            ("(a*2)", ConstraintError::Misplaced { column: 2 }),
            ("[a*2|b*2]", ConstraintError::Misplaced { column: 2 }),
            ("[a|b]|c", ConstraintError::Misplaced { column: 1 }),
            ("[a|b]&[b|c]", ConstraintError::SecondChoice { column: 7 }),
        ];
        for (text, error) in cases {
            assert_eq!(Constraint::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_host_has_what_holds() {
        let features: BTreeSet<String> = ["a", "b"].map(String::from).into();
        for (text, holds) in
            [("a", true), ("a&c", false), ("c&a|b", true), ("a|b&c", false), ("c|(a&b)", true)]
        {
            let each = Constraint::parse(text).unwrap().each;
            assert_eq!(each.iter().all(|expr| expr.holds(&features)), holds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ab&|*()\\[\\]2, ]{0,12}") {
            if let Err(ConstraintError::Expected { column, .. }) = Constraint::parse(&text) {
                prop_assert!((1..=text.len() + 1).contains(&column));
            }
        }
    }
}
