//! Devices and licences as options name them: `gpu:a100:2,shard:4`, `a100:2`, `matlab:3,stata`.

use muster_core::jobspec::{Gres, GresPer};

/// Devices of a list such as `gpu`, `gpu:2`, `gpu:a100:2`; none where it is no such list. `none` asks for nothing.
pub fn gres(text: &str) -> Option<Vec<Gres>> {
    if text.eq_ignore_ascii_case("none") {
        return Some(Vec::new());
    }
    text.split(',')
        .map(|part| {
            // Newer releases write the kind of resource before the name.
            let part = part.strip_prefix("gres/").or_else(|| part.strip_prefix("gres:")).unwrap_or(part);
            let (name, rest) = part.split_once(':').map_or((part, None), |(name, rest)| (name, Some(rest)));
            devices(name, rest, GresPer::Host)
        })
        .collect()
}

/// GPUs of a list such as `2`, `a100`, `a100:2`; none where it is no such list.
pub fn gpus(text: &str, per: GresPer) -> Option<Vec<Gres>> {
    text.split(',').map(|part| devices("gpu", Some(part), per)).collect()
}

/// As `--gres` writes devices, whatever they are counted by.
pub fn print_gres(gres: &[Gres]) -> String {
    let one = |gres: &Gres| match &gres.kind {
        Some(kind) => format!("{}:{kind}:{}", gres.name, gres.count),
        None => format!("{}:{}", gres.name, gres.count),
    };
    gres.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Licences of a list such as `matlab:3,stata`; none where it is no such list.
pub fn licences(text: &str) -> Option<Vec<(String, u32)>> {
    let one = |part: &str| {
        let (name, count) = part.split_once([':', '=']).unwrap_or((part, "1"));
        Some((named(name)?.to_owned(), self::count(count).filter(|&n| n > 0)?))
    };
    text.split([',', ';']).map(one).collect()
}

/// As `--licenses` writes them.
pub fn print_licences(licences: &[(String, u32)]) -> String {
    licences.iter().map(|(name, count)| format!("{name}:{count}")).collect::<Vec<_>>().join(",")
}

/// `TYPE`, `COUNT` or `TYPE:COUNT` of devices with this name; one of any type when nothing is said.
fn devices(name: &str, rest: Option<&str>, per: GresPer) -> Option<Gres> {
    let (kind, count) =
        match rest.map(|rest| rest.split_once(':').map_or((rest, None), |(k, n)| (k, Some(n)))) {
            None => (None, 1),
            Some((kind, Some(count))) => (Some(named(kind)?.to_owned()), self::count(count)?),
            Some((only, None)) => match self::count(only) {
                Some(count) => (None, count),
                // A number that is too large is no type.
                None if only.bytes().all(|b| b.is_ascii_digit()) => return None,
                None => (Some(named(only)?.to_owned()), 1),
            },
        };
    Some(Gres { name: named(name)?.to_owned(), kind, count, per })
}

/// A name of letters, digits and, after the first, a few marks.
fn named(text: &str) -> Option<&str> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '/');
    (text.starts_with(char::is_alphanumeric) && text.chars().all(plain)).then_some(text)
}

/// A number, perhaps with `K`, `M` or `G` for powers of 1024.
fn count(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let scale = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok()).flatten()?;
    u32::try_from(number.checked_mul(1 << scale)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(name: &str, kind: Option<&str>, count: u32, per: GresPer) -> Gres {
        Gres { name: name.into(), kind: kind.map(str::to_owned), count, per }
    }

    #[test]
    fn devices_are_read() {
        let host = GresPer::Host;
        for (text, wanted) in [
            ("gpu", vec![some("gpu", None, 1, host)]),
            ("gpu:2", vec![some("gpu", None, 2, host)]),
            ("gpu:a100:2", vec![some("gpu", Some("a100"), 2, host)]),
            ("gres/gpu:a100", vec![some("gpu", Some("a100"), 1, host)]),
            ("gpu:1g.5gb", vec![some("gpu", Some("1g.5gb"), 1, host)]),
            ("gpu:1,shard:2K", vec![some("gpu", None, 1, host), some("shard", None, 2048, host)]),
            ("none", vec![]),
        ] {
            assert_eq!(gres(text), Some(wanted), "{text}");
        }
        for text in ["", ",", "gpu:", "gpu:a100:x", "gpu:a100:1:2", "gpu:99999999999", "gpu:-1", "a b"] {
            assert_eq!(gres(text), None, "{text}");
        }
    }

    #[test]
    fn gpus_are_read() {
        for (text, kind, count) in [("2", None, 2), ("a100", Some("a100"), 1), ("a100:3", Some("a100"), 3)] {
            assert_eq!(
                gpus(text, GresPer::Task),
                Some(vec![some("gpu", kind, count, GresPer::Task)]),
                "{text}"
            );
        }
        assert_eq!(gpus("a100:1,h100:2", GresPer::Job).map(|all| all.len()), Some(2));
        assert!(["", "2,", ":2", "a100:", "a100:b"].iter().all(|text| gpus(text, GresPer::Job).is_none()));
    }

    #[test]
    fn licences_are_read() {
        let wanted = vec![("matlab".to_owned(), 3), ("stata@server".to_owned(), 1), ("r".to_owned(), 2)];
        assert_eq!(licences("matlab:3,stata@server;r=2"), Some(wanted));
        assert!(["", "a:0", "a:", ":1", "a|b", "a,,b"].iter().all(|text| licences(text).is_none()));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            names in prop::collection::vec(("[a-z][a-z0-9_]{0,5}", prop::option::of("[a-z][a-z0-9]{0,4}"), 1_u32..9999), 1..4)
        ) {
            let all: Vec<Gres> =
                names.iter().map(|(name, kind, count)| some(name, kind.as_deref(), *count, GresPer::Host)).collect();
            prop_assume!(all.iter().all(|g| g.name != "none"));
            prop_assert_eq!(gres(&print_gres(&all)), Some(all));
            let some: Vec<(String, u32)> = names.into_iter().map(|(name, _, count)| (name, count)).collect();
            prop_assert_eq!(licences(&print_licences(&some)), Some(some));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|(gpu|[a-z]|[0-9]{1,4}|[:,;=KMG]){0,8}") {
            let _ = (gres(&text), gpus(&text, GresPer::Job), licences(&text));
        }
    }
}
