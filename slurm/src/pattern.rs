//! The patterns in the names of a job's files: `%j`, `%x`, `%A`, `%a`, `%N` and the others, padded as in `%4j`.

/// What the patterns stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `%j`: the job's number.
    pub job: u64,
    /// `%A` and `%a`: the array's number and the element's index.
    pub element: Option<(u64, u32)>,
    /// `%x`: the job's name.
    pub name: String,
    /// `%N`: the host's short name.
    pub host: String,
    /// `%u`: the user's name.
    pub user: String,
}

/// Where the output goes when nothing is said.
pub fn default_output(is_array: bool) -> &'static str {
    if is_array { "slurm-%A_%a.out" } else { "slurm-%j.out" }
}

/// Fills in a pattern. A backslash anywhere keeps the whole as it is, without backslashes, as Slurm has it.
pub fn fill(pattern: &str, names: &Names) -> String {
    if pattern.contains('\\') {
        return pattern.replace('\\', "");
    }
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut width = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let wide: usize = width.parse().unwrap_or(0).min(10);
        let padded = |n: u64| format!("{n:0wide$}");
        match rest.next() {
            Some('%') => out.push('%'),
            Some('j') => out += &padded(names.job),
            Some('J') => out += &format!("{}.batch", names.job),
            Some('A') => out += &padded(names.element.map_or(names.job, |e| e.0)),
            Some('a') => out += &padded(names.element.map_or(u64::from(u32::MAX - 1), |e| u64::from(e.1))),
            Some('x') => out += &names.name,
            Some('N') => out += &names.host,
            Some('u') => out += &names.user,
            Some('n' | 't') => out += &padded(0),
            Some('s') => out += "batch",
            Some(other) => out += &format!("%{width}{other}"),
            None => out += &format!("%{width}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let names = Names {
            job: 216,
            element: Some((214, 4)),
            name: "sim".into(),
            host: "n1".into(),
            user: "ada".into(),
        };
        for (pattern, want) in [
            ("slurm-%j.out", "slurm-216.out"),
            ("%x-%A_%a.%N", "sim-214_4.n1"),
            ("%5j_%3a", "00216_004"),
            ("%u/%t%n%s%%", "ada/00batch%"),
            ("%J", "216.batch"),
            ("%q%", "%q%"),
            ("a\\%j", "a%j"),
        ] {
            assert_eq!(fill(pattern, &names), want, "{pattern}");
        }
    }
}
