//! The text of a filter, read by recursive descent: `or` binds less than `and`, `and` less than `not`.

use super::super::value;
use super::{Expr, Operand, Test};
use muster_spec::Problem;
use muster_spec::table::{ColumnType, Kind};

/// One word of the text.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    /// A number as it was written.
    Number(String),
    Text(String),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 11] = ["<=", ">=", "!=", "<>", "==", "=", "<", ">", "(", ")", ","];
const WORDS: [&str; 7] = ["and", "or", "not", "in", "is", "true", "false"];

/// Deeper nesting is refused, so that no text exhausts the stack.
const DEPTH: usize = 100;

pub(super) fn filter(flag: &str, text: &str, columns: &[ColumnType]) -> Result<(Expr, Vec<usize>), Problem> {
    let mut parser = Parser { flag, text, columns, used: Vec::new(), tokens: Vec::new(), at: 0, depth: 0 };
    parser.split()?;
    let root = parser.or()?;
    match parser.peek() {
        Token::End => Ok((root, parser.used)),
        _ => Err(parser.wrong("expected 'and', 'or' or the end")),
    }
}

struct Parser<'a> {
    flag: &'a str,
    text: &'a str,
    columns: &'a [ColumnType],
    /// Columns of the table that the filter reads.
    used: Vec<usize>,
    /// Words with the byte at which each begins.
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    /// Splits the text into words.
    fn split(&mut self) -> Result<(), Problem> {
        let mut rest = self.text;
        loop {
            rest = rest.trim_start();
            let at = self.text.len() - rest.len();
            let Some(first) = rest.chars().next() else {
                self.tokens.push((Token::End, at));
                return Ok(());
            };
            let (token, length) = match first {
                '\'' | '"' | '`' => self.quoted(rest, first, at)?,
                _ if first.is_ascii_digit() || "+-.".contains(first) => {
                    let digits = |(i, c): (usize, char)| {
                        let exponent = i > 0 && "+-".contains(c) && rest[..i].ends_with(['e', 'E']);
                        !(c.is_ascii_alphanumeric() || ".".contains(c) || i == 0 || exponent)
                    };
                    let length = rest.char_indices().find(|&x| digits(x)).map_or(rest.len(), |(i, _)| i);
                    (Token::Number(rest[..length].to_owned()), length)
                }
                _ if first.is_alphabetic() || first == '_' => {
                    let inside = |c: char| c.is_alphanumeric() || "_.".contains(c);
                    let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
                    (Token::Name(rest[..length].to_owned()), length)
                }
                _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                    Some(sign) => (Token::Sign(sign), sign.len()),
                    None => return Err(self.wrong_at(at, &format!("'{first}' means nothing here"))),
                },
            };
            self.tokens.push((token, at));
            rest = &rest[length..];
        }
    }

    /// A text in quotes, or a column's name in backquotes; a doubled quote stands for one.
    fn quoted(&self, rest: &str, quote: char, at: usize) -> Result<(Token, usize), Problem> {
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((i, c)) = chars.next() {
            if c != quote {
                out.push(c);
            } else if chars.peek().is_some_and(|&(_, next)| next == quote) {
                out.push(quote);
                chars.next();
            } else {
                return Ok((if quote == '`' { Token::Name(out) } else { Token::Text(out) }, i + 1));
            }
        }
        Err(self.wrong_at(at, &format!("this {quote} is never closed")))
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the next word if it is this keyword, outside backquotes.
    fn keyword(&mut self, word: &str) -> bool {
        let (token, at) = &self.tokens[self.at];
        let here = matches!(token, Token::Name(name) if name.eq_ignore_ascii_case(word))
            && !self.text[*at..].starts_with('`');
        self.at += usize::from(here);
        here
    }

    fn sign(&mut self, sign: &str) -> bool {
        let here = *self.peek() == Token::Sign(SIGNS.iter().find(|s| **s == sign).expect("it is a sign"));
        self.at += usize::from(here);
        here
    }

    fn or(&mut self) -> Result<Expr, Problem> {
        let mut left = self.and()?;
        while self.keyword("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Problem> {
        let mut left = self.not()?;
        while self.keyword("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, Problem> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("this is nested too deep"));
        }
        let inner = if self.keyword("not") {
            Expr::Not(Box::new(self.not()?))
        } else if self.sign("(") {
            let inner = self.or()?;
            if !self.sign(")") {
                return Err(self.wrong("expected ')'"));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(inner)
    }

    fn test(&mut self) -> Result<Expr, Problem> {
        let left = self.operand()?;
        if self.keyword("is") {
            let not = self.keyword("not");
            if !self.keyword("missing") && !self.keyword("null") {
                return Err(self.wrong("expected 'missing'"));
            }
            let missing = Expr::Missing(left);
            return Ok(if not { Expr::Not(Box::new(missing)) } else { missing });
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            let list = self.list(&left)?;
            let member = Expr::In(left, list);
            return Ok(if negated { Expr::Not(Box::new(member)) } else { member });
        }
        let test = match self.peek() {
            Token::Sign("=" | "==") if !negated => Test::Equal,
            Token::Sign("!=" | "<>") if !negated => Test::NotEqual,
            Token::Sign("<") if !negated => Test::Less,
            Token::Sign("<=") if !negated => Test::LessEqual,
            Token::Sign(">") if !negated => Test::Greater,
            Token::Sign(">=") if !negated => Test::GreaterEqual,
            // A column of truths stands for itself.
            _ if matches!(left, Operand::Column(_, Kind::Bool)) && !negated => {
                return Ok(Expr::Compare(left, Test::Equal, Operand::Int(1, Kind::Bool)));
            }
            _ => return Err(self.wrong("expected a comparison such as '>', or 'in' or 'is missing'")),
        };
        self.next();
        let here = self.at;
        let right = self.operand()?;
        let (left, right) = self.comparable(left, right, here)?;
        Ok(Expr::Compare(left, test, right))
    }

    fn list(&mut self, left: &Operand) -> Result<Vec<Operand>, Problem> {
        if !self.sign("(") {
            return Err(self.wrong("expected '(' and a list of values"));
        }
        let mut list = Vec::new();
        loop {
            let here = self.at;
            let value = self.operand()?;
            list.push(self.comparable(left.clone(), value, here)?.1);
            if self.sign(")") {
                return Ok(list);
            }
            if !self.sign(",") {
                return Err(self.wrong("expected ',' or ')'"));
            }
        }
    }

    /// Both sides in kinds that can be compared.
    fn comparable(&self, a: Operand, b: Operand, at: usize) -> Result<(Operand, Operand), Problem> {
        let (ka, kb) = (a.kind(), b.kind());
        let (a, b) = (a.seen_as(kb), b.seen_as(ka));
        let (ka, kb) = (a.kind(), b.kind());
        if ka == kb || ka.is_number() && kb.is_number() {
            return Ok((a, b));
        }
        let what = format!("this is of type {kb}, and what it is compared with of type {ka}");
        Err(self.wrong_at(self.tokens[at].1, &what))
    }

    fn operand(&mut self) -> Result<Operand, Problem> {
        let (token, at) = self.tokens[self.at].clone();
        let backquoted = self.text[at..].starts_with('`');
        let operand = match token {
            Token::Number(text) => match (value::int(text.as_bytes()), value::float(text.as_bytes())) {
                (Ok(x), _) => Operand::Int(x, Kind::Int),
                (_, Ok(x)) => Operand::Float(x),
                _ => return Err(self.wrong(&format!("'{text}' is not a number"))),
            },
            Token::Text(text) => Operand::Text(text.into_bytes()),
            Token::Name(word) if !backquoted && word.eq_ignore_ascii_case("true") => {
                Operand::Int(1, Kind::Bool)
            }
            Token::Name(word) if !backquoted && word.eq_ignore_ascii_case("false") => {
                Operand::Int(0, Kind::Bool)
            }
            Token::Name(word) if !backquoted && WORDS.iter().any(|w| word.eq_ignore_ascii_case(w)) => {
                return Err(self.wrong("expected a column or a value"));
            }
            Token::Name(name) => self.column(&name, at)?,
            Token::Sign(_) | Token::End => return Err(self.wrong("expected a column or a value")),
        };
        self.next();
        Ok(operand)
    }

    fn column(&mut self, name: &str, at: usize) -> Result<Operand, Problem> {
        let place = super::super::column(self.flag, self.columns, name).map_err(|problem| {
            let (what, hint) = (problem.what, problem.hint.unwrap_or_default());
            self.wrong_at(at, &format!("{what} ({hint}; texts stand in quotes)"))
        })?;
        let nth = self.used.iter().position(|&u| u == place).unwrap_or_else(|| {
            self.used.push(place);
            self.used.len() - 1
        });
        Ok(Operand::Column(nth, self.columns[place].kind))
    }

    /// What is wrong with the next word.
    fn wrong(&self, what: &str) -> Problem {
        self.wrong_at(self.tokens[self.at].1, what)
    }

    /// What is wrong at a byte of the text: its column, and a caret below it.
    fn wrong_at(&self, at: usize, what: &str) -> Problem {
        let column = self.text[..at].chars().count();
        let caret = format!("{}\n  {}^", self.text, " ".repeat(column));
        Problem::new(format!("{}:{}", self.flag, column + 1), format!("{what}\n  {caret}"))
    }
}
