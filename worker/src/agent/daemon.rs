//! What a job may start on its other hosts: the daemon of an MPI, by the words that its `mpirun` gives to a remote shell,
//! and nothing else.
//!
//! Part of step 7 of a job's way (DESIGN section 4).

/// The daemons of Open MPI 4, of Open MPI 5, and of MPICH.
const DAEMONS: [&str; 3] = ["orted", "prted", "hydra_pmi_proxy"];

/// What Open MPI has a shell read first that is of its older kinds. The job has an environment already.
const PROFILE: &str = "( test ! -r ./.profile || . ./.profile;";

/// What of `command` is to run, if all that it does is to set variables and start a daemon.
pub(super) fn permitted(command: &str) -> Option<&str> {
    let command = command.trim();
    let inner = command.strip_prefix(PROFILE).and_then(|rest| rest.trim_end().strip_suffix(')'));
    let command = inner.unwrap_or(command).trim();
    let mut parts = parts(command)?;
    let last = parts.pop()?;
    let program = last.split_whitespace().next()?.trim_matches(['"', '\'']);
    let name = program.rsplit('/').next()?;
    (DAEMONS.contains(&name) && parts.iter().all(|part| sets(part))).then_some(command)
}

/// The commands that stand one after another; none where a shell would do more than that with them.
fn parts(command: &str) -> Option<Vec<&str>> {
    let (mut out, mut from, mut quote) = (Vec::new(), 0, None);
    for (at, letter) in command.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some('\''), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, ';') => {
                out.push(command[from..at].trim());
                from = at + 1;
            }
            (None, '|' | '&' | '<' | '>' | '(' | ')' | '#' | '\n') | (_, '`' | '\\') => return None,
            (_, '$') if !is_variable(&command[at + 1..]) => return None,
            _ => {}
        }
    }
    out.push(command[from..].trim());
    quote.is_none().then_some(out)
}

/// Whether what follows a dollar sign is a variable's value, and no command's output.
fn is_variable(rest: &str) -> bool {
    let first = |text: &str| text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let braced = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let named = |inside: &str| {
        let name = inside.strip_suffix(":-").unwrap_or(inside);
        first(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    first(rest) || braced.is_some_and(|(inside, _)| named(inside))
}

/// Whether a command sets a variable, or has it inherited, and does nothing else.
fn sets(part: &str) -> bool {
    let name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let one = |part: &str| !part.contains(char::is_whitespace);
    match part.strip_prefix("export ") {
        Some(names) => names.split_whitespace().all(|one| name(one.split('=').next().unwrap_or_default())),
        None => one(part) && part.split_once('=').is_some_and(|(set, _)| name(set)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_may_be_started() {
        for command in [
            r#" orted -mca ess '"env"' -mca orte_hnp_uri "1.0;tcp://10.0.0.1:4096""#,
            "PATH=/x:$PATH ; export PATH ; LD_LIBRARY_PATH=/x:${LD_LIBRARY_PATH:-} ; export LD_LIBRARY_PATH ; /x/orted -mca a b",
            "prted --daemon",
            "'/usr/bin/hydra_pmi_proxy' --control-port a:1",
        ] {
            assert_eq!(permitted(command), Some(command.trim()));
        }
        let old = "( test ! -r ./.profile || . ./.profile; PATH=/x:$PATH ; orted -mca ess env )";
        assert_eq!(permitted(old), Some("PATH=/x:$PATH ; orted -mca ess env"));
    }

    #[test]
    fn nothing_else_may() {
        for command in [
            "",
            "sh",
            "rm -rf orted",
            "orted; rm -rf x",
            "orted & rm -rf x",
            "orted | sh",
            "orted `id`",
            "orted \"`id`\"",
            "orted $(id)",
            "orted \"$(id)\"",
            "orted \"${x:-$(id)}\"",
            "orted > /etc/passwd",
            "orted\nid",
            "orted 'x",
            "orted \\\nid",
            "X=1 id; orted",
            "export X;id ; orted",
            "(orted)",
            "orted -x # y",
        ] {
            assert_eq!(permitted(command), None, "{command}");
        }
    }
}
