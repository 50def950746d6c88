//! What the options say to the command that submits, and not to the job: how it speaks, and whether it waits.

use crate::words::Given;

/// What a command was told about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// How much it says.
    pub says: Says,
    /// `--verbose`: how often.
    pub verbose: u32,
    /// `--wait`: it stays until the job has ended, and exits as the job did.
    pub wait: bool,
    /// `--test-only`: nothing is submitted; it says when the job would start.
    pub test_only: bool,
    /// `--wrap`: this command is the script.
    pub wrap: Option<String>,
}

/// How a command tells the number of the new job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Says {
    /// `Submitted batch job 12`.
    #[default]
    Sentence,
    /// `--parsable`: `12`, with or without `--quiet`.
    Number,
    /// `--quiet`: nothing but errors.
    Nothing,
}

impl Flags {
    /// What the options say to the command.
    pub fn of(given: &[Given]) -> Flags {
        let mut flags = Flags::default();
        for one in given {
            flags.take(one);
        }
        flags
    }

    /// Takes one option; whether it is for the command.
    pub(crate) fn take(&mut self, given: &Given) -> bool {
        match given.option.long {
            "parsable" => self.says = Says::Number,
            "quiet" if self.says == Says::Sentence => self.says = Says::Nothing,
            "quiet" => {}
            // The variable of the environment tells how often.
            "verbose" => self.verbose = given.value.parse().unwrap_or(self.verbose.saturating_add(1)),
            "wait" => self.wait = true,
            "test-only" => self.test_only = true,
            "wrap" => self.wrap = Some(given.value.clone()),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Origin, read};

    #[test]
    fn the_command_hears_what_is_for_it() {
        for (list, wanted) in [
            (&["-N2"][..], Flags::default()),
            (&["-Q"], Flags { says: Says::Nothing, ..Flags::default() }),
            (&["-Q", "--parsable"], Flags { says: Says::Number, ..Flags::default() }),
            (&["--parsable", "-Q"], Flags { says: Says::Number, ..Flags::default() }),
            (&["-vvW"], Flags { verbose: 2, wait: true, ..Flags::default() }),
            (&["--test-only"], Flags { test_only: true, ..Flags::default() }),
            (&["--wrap=echo 1", "-v"], Flags { wrap: Some("echo 1".into()), verbose: 1, ..Flags::default() }),
        ] {
            let words: Vec<_> = list.iter().map(|w| ((*w).to_owned(), Origin::CommandLine)).collect();
            let (mut given, mut mistakes) = (Vec::new(), Vec::new());
            read(&words, &mut given, &mut mistakes);
            assert_eq!((Flags::of(&given), mistakes), (wanted, vec![]), "{list:?}");
        }
    }
}
