//! A job script: its directives as words with their places.

use crate::options::{HETEROGENEOUS, Support};
use crate::words::{Mistake, Origin};

/// A script that `sbatch` would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The whole text.
    pub text: String,
    /// The words of its directives.
    pub words: Vec<(String, Origin)>,
}

impl Script {
    /// Reads a script: checks what `sbatch` checks and collects the directives, which end at the first line that is
    /// neither blank nor a comment.
    ///
    /// # Errors
    /// Everything that is wrong, in Slurm's words.
    pub fn read(bytes: &[u8]) -> Result<Script, Vec<Mistake>> {
        let at = |line: usize, column: usize| Origin::Directive { line, column };
        let refuse = |origin: &Origin, what: &str| Err(vec![Mistake::refusal(origin, what)]);
        if bytes.is_empty() || bytes.iter().all(u8::is_ascii_whitespace) {
            return refuse(&at(1, 1), "Batch script is empty!");
        }
        if bytes.contains(&0) {
            return refuse(
                &at(1, 1),
                "The Batch script contains null characters: it is a program, not a script",
            );
        }
        if !bytes.starts_with(b"#!") {
            let what = "This does not look like a batch script.  The first line must start with #! followed by the \
                        path to an interpreter.  For instance: #!/bin/sh";
            return refuse(&at(1, 1), what);
        }
        if let Some(position) = bytes.windows(2).position(|w| w == b"\r\n") {
            let line = bytes[..position].iter().filter(|b| **b == b'\n').count() + 1;
            let what =
                "Batch script contains DOS line breaks (\\r\\n) instead of expected UNIX line breaks (\\n).";
            return refuse(&at(line, 1), what);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse(&at(1, 1), "the script is not UTF-8 text");
        };
        let (mut words, mut mistakes) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            match line.strip_prefix("#SBATCH") {
                Some(rest) if rest.trim() == "hetjob" || rest.trim() == "packjob" => {
                    if let Support::Refused(why) = HETEROGENEOUS {
                        mistakes.push(Mistake::refusal(
                            &at(number, 9),
                            format!("#SBATCH {}: {why}", rest.trim()),
                        ));
                    }
                }
                Some(rest) if rest.starts_with(char::is_whitespace) || rest.is_empty() => {
                    split(rest, (number, line.len() - rest.len()), &mut words, &mut mistakes);
                }
                _ if line.trim().is_empty() || line.trim_start().starts_with('#') => {}
                _ => break,
            }
        }
        if mistakes.is_empty() { Ok(Script { text: text.to_owned(), words }) } else { Err(mistakes) }
    }
}

/// Splits the rest of a directive line into words: blanks separate, quotes of both kinds and a backslash keep, and a
/// word that begins with `#` ends the line.
fn split(
    rest: &str,
    (line, offset): (usize, usize),
    words: &mut Vec<(String, Origin)>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut word: Option<(String, usize)> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut characters = rest.char_indices();
    while let Some((i, c)) = characters.next() {
        let column = offset + i + 1;
        match (quote, c) {
            (Some((open, _)), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some((c, column));
                word.get_or_insert((String::new(), column));
            }
            (None | Some(('"', _)), '\\') => {
                if let Some((_, next)) = characters.next() {
                    word.get_or_insert((String::new(), column)).0.push(next);
                }
            }
            (None, '#') if word.is_none() => break,
            (None, _) if c.is_whitespace() => {
                if let Some((text, column)) = word.take() {
                    words.push((text, Origin::Directive { line, column }));
                }
            }
            _ => word.get_or_insert((String::new(), column)).0.push(c),
        }
    }
    if let Some((open, column)) = quote {
        let origin = Origin::Directive { line, column };
        mistakes.push(Mistake::usage(&origin, format!("the quote {open} is not closed on this line")));
    }
    if let Some((text, column)) = word {
        words.push((text, Origin::Directive { line, column }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<String> {
        Script::read(script.as_bytes()).unwrap().words.into_iter().map(|w| w.0).collect()
    }

    #[test]
    fn directives_end_at_the_first_command() {
        let script = "#!/bin/sh\n\n#SBATCH -n 4   # four\n##SBATCH -n 5\n#SBATCHx\n#SBATCH\n  # note\n\
                      #SBATCH --job-name=\"a b\" -o 'x y'\\ z\necho\n#SBATCH -n 9\n";
        assert_eq!(texts(script), ["-n", "4", "--job-name=a b", "-o", "x y z"]);
        let places = Script::read(script.as_bytes()).unwrap().words;
        assert_eq!(places[1].1, Origin::Directive { line: 3, column: 12 });
    }

    #[test]
    fn what_is_no_script_is_refused_in_slurms_words() {
        for (text, wanted) in [
            ("", "Batch script is empty!"),
            (" \n\n", "Batch script is empty!"),
            ("echo\n", "This does not look like a batch script.  The first line must start with #!"),
            ("#!/bin/sh\r\necho\r\n", "Batch script contains DOS line breaks (\\r\\n)"),
            ("#!/bin/sh\0", "null characters"),
            ("#!/bin/sh\n#SBATCH hetjob\n", "heterogeneous jobs are not supported"),
            ("#!/bin/sh\n#SBATCH -J \"x\n", "line 2, column 12: the quote \" is not closed"),
        ] {
            let mistakes = Script::read(text.as_bytes()).unwrap_err();
            assert!(mistakes[0].to_string().contains(wanted), "{text:?}: {}", mistakes[0]);
        }
    }
}
