//! The options that are Muster's own and no option of `sbatch`: read by the same reader, kept out of its table.

use crate::options::Support::{Honoured, Ignored};
use crate::options::{OptionDef, Takes, option};

/// The options, by name. Each wants its whole name.
pub static OWN: &[OptionDef] =
    &[option("label", None, Takes::Value, [Ignored("this host is the only one"), Honoured])];

/// A label of hosts: `key=value`.
pub fn label(text: &str) -> Option<&str> {
    let (key, value) = text.split_once('=')?;
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    (plain(key) && plain(value)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OPTIONS;

    #[test]
    fn no_name_is_slurms() {
        assert!(OWN.windows(2).all(|w| w[0].long < w[1].long));
        assert!(OWN.iter().all(|own| own.short.is_none() && OPTIONS.iter().all(|o| o.long != own.long)));
    }

    #[test]
    fn labels_have_a_key_and_a_value() {
        assert_eq!(label("data=/scratch/a=b"), Some("data=/scratch/a=b"));
        assert!(["", "data", "=x", "data=", "da ta=x"].iter().all(|text| label(text).is_none()));
    }
}
