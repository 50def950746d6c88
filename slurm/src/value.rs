//! The values of options: times, memory, counts, arrays, signals, exports. Each parser says what it expected.

use muster_core::jobspec::{ArraySpec, EarlySignal, Export, Memory};

/// The largest index of an array, as Slurm's default `MaxArraySize` would have it, but a thousand times as large.
const MAX_INDEX: u32 = 1_000_000;

/// A time limit in seconds; `None` for no limit. Minutes, `M:SS`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.
///
/// # Errors
/// What was expected.
pub fn time_s(option: &str, text: &str) -> Result<Option<u64>, String> {
    let wrong = || format!("Invalid --{option} specification: '{text}', expected MINUTES, H:M:S or D-H:M:S");
    if ["unlimited", "infinite", "-1"].contains(&text.to_lowercase().as_str()) {
        return Ok(None);
    }
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(number(days).ok_or_else(wrong)?), clock),
        None => (None, text),
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let (hours, minutes, seconds) = match (days, &parts[..]) {
        (Some(_), [h]) => (*h, 0, 0),
        (Some(_), [h, m]) => (*h, *m, 0),
        (None, [m]) => (0, *m, 0),
        (None, [m, s]) => (0, *m, *s),
        (_, [h, m, s]) => (*h, *m, *s),
        _ => return Err(wrong()),
    };
    let total = days.unwrap_or(0).checked_mul(86_400).and_then(|d| d.checked_add(hours.checked_mul(3600)?));
    let total = total
        .and_then(|t| t.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds))
        .ok_or_else(wrong)?;
    // Slurm takes a limit of zero for none.
    Ok((total > 0).then_some(total))
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Memory in mebibytes: `8G`, `8GB`, `8000`, `8000M`, `500K`.
///
/// # Errors
/// What was expected.
pub fn mebibytes(option: &str, text: &str) -> Result<u64, String> {
    let wrong =
        || format!("Invalid --{option} specification: '{text}', expected a size such as 8000, 500M or 8G");
    let upper = text.to_ascii_uppercase();
    let body = upper.strip_suffix('B').unwrap_or(&upper);
    let digits = body.trim_end_matches(['K', 'M', 'G', 'T']);
    let n = number(digits).ok_or_else(wrong)?;
    match &body[digits.len()..] {
        "" | "M" => Ok(n),
        "K" => Ok(n.div_ceil(1024)),
        "G" => n.checked_mul(1 << 10).ok_or_else(wrong),
        "T" => n.checked_mul(1 << 20).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// Memory for each host.
///
/// # Errors
/// What was expected.
pub fn memory_per_node(text: &str) -> Result<Memory, String> {
    mebibytes("mem", text).map(Memory::PerNode)
}

/// Memory for each CPU.
///
/// # Errors
/// What was expected.
pub fn memory_per_cpu(text: &str) -> Result<Memory, String> {
    mebibytes("mem-per-cpu", text).map(Memory::PerCpu)
}

/// A count of at least 1.
///
/// # Errors
/// In Slurm's words.
pub fn count(option: &str, text: &str) -> Result<u32, String> {
    number(text)
        .filter(|&n| n > 0 && n <= 1 << 24)
        .map(|n| n as u32)
        .ok_or_else(|| format!("Invalid numeric value \"{text}\" for --{option}."))
}

/// The least number of hosts of `N`, `MIN-MAX`, with `k` for thousands.
///
/// # Errors
/// In Slurm's words.
pub fn nodes(text: &str) -> Result<u32, String> {
    let wrong = || format!("\"{text}\" is not a valid node count");
    let one = |part: &str| match part.strip_suffix(['k', 'K']) {
        Some(thousands) => number(thousands).and_then(|n| n.checked_mul(1000)),
        None => number(part),
    };
    let (least, most) = match text.split_once('-') {
        Some((least, most)) => (one(least).ok_or_else(wrong)?, one(most).ok_or_else(wrong)?),
        None => (one(text).ok_or_else(wrong)?, u64::MAX),
    };
    if least == 0 || most < least || least > 1 << 20 { Err(wrong()) } else { Ok(least as u32) }
}

/// An array: `0-15`, `0,6,16-32`, `0-15:4`, `0-15%4`.
///
/// # Errors
/// In Slurm's words.
pub fn array(text: &str) -> Result<ArraySpec, String> {
    let wrong = || {
        format!("Invalid job array specification: '{text}', expected indices such as 0-15, 1,5,9 or 0-15:4%2")
    };
    let index = |t: &str| number(t).filter(|&n| n <= u64::from(MAX_INDEX)).map(|n| n as u32);
    let (list, throttle) = match text.split_once('%') {
        Some((list, throttle)) => (list, Some(index(throttle).filter(|&n| n > 0).ok_or_else(wrong)?)),
        None => (text, None),
    };
    let range = |part: &str| {
        let (span, step) = match part.split_once(':') {
            Some((span, step)) => (span, index(step).filter(|&s| s > 0)?),
            None => (part, 1),
        };
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (first, last) = (index(first)?, index(last)?);
        (first <= last && (span.contains('-') || !part.contains(':'))).then_some((first, last, step))
    };
    let ranges: Vec<_> = list.split(',').map(range).collect::<Option<_>>().ok_or_else(wrong)?;
    Ok(ArraySpec { ranges, throttle })
}

/// A signal before the end: `[B:]NAME[@SECONDS]`, one minute before by default.
///
/// # Errors
/// In Slurm's words.
pub fn early_signal(text: &str) -> Result<EarlySignal, String> {
    let wrong = || format!("Invalid --signal specification: '{text}', expected [B:]SIGNAL[@SECONDS]");
    let body = text.strip_prefix("B:").or_else(|| text.strip_prefix("b:"));
    let (name, before) = body.unwrap_or(text).split_once('@').unwrap_or((body.unwrap_or(text), "60"));
    let before_s = number(before).filter(|&s| s <= 65_535).ok_or_else(wrong)?;
    let signal = signal_number(name).ok_or_else(wrong)?;
    Ok(EarlySignal { signal, before_s, batch_only: body.is_some() })
}

/// The number of a signal by name, with or without `SIG`, or by number.
pub fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 14] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("URG", 23),
        ("XCPU", 24),
    ];
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = NAMES.iter().find(|(n, _)| *n == bare).map(|n| n.1);
    by_name.or_else(|| number(name).filter(|n| (1..=64).contains(n)).map(|n| n as i32))
}

/// Whether this is a list of what mail may be sent about.
pub fn mail_types(text: &str) -> bool {
    const KINDS: [&str; 13] = [
        "NONE",
        "BEGIN",
        "END",
        "FAIL",
        "REQUEUE",
        "ALL",
        "INVALID_DEPEND",
        "STAGE_OUT",
        "TIME_LIMIT",
        "TIME_LIMIT_90",
        "TIME_LIMIT_80",
        "TIME_LIMIT_50",
        "ARRAY_TASKS",
    ];
    text.split(',').all(|part| KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(part.trim())))
}

/// What of the environment goes along: `ALL`, `NONE`, `NIL`, names, `NAME=value`.
pub fn export(text: &str) -> Export {
    let (mut names, mut set, mut all) = (Vec::new(), Vec::new(), false);
    for part in text.split(',').filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some((name, value)) => set.push((name.to_owned(), value.to_owned())),
            None if part.eq_ignore_ascii_case("all") => all = true,
            None if part.eq_ignore_ascii_case("none") || part.eq_ignore_ascii_case("nil") => {}
            None => names.push(part.to_owned()),
        }
    }
    if all { Export::All(set) } else { Export::Only(names, set) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("90", 5400),
            ("1:30", 90),
            ("0:5", 5),
            ("2:0:0", 7200),
            ("01:02:03", 3723),
            ("1-0", 86_400),
            ("1-2:30", 95_400),
            ("2-3:4:5", 183_845),
        ] {
            assert_eq!(time_s("time", text), Ok(Some(want)), "{text}");
        }
        assert_eq!((time_s("time", "UNLIMITED"), time_s("time", "0")), (Ok(None), Ok(None)));
        for text in ["", "abc", "1:2:3:4", "1-", "-", "1--2", "9999999999999999999"] {
            assert!(time_s("time", text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory() {
        for (text, want) in
            [("8G", 8192), ("8GB", 8192), ("8g", 8192), ("8000", 8000), ("8000M", 8000), ("1K", 1)]
        {
            assert_eq!(mebibytes("mem", text), Ok(want), "{text}");
        }
        assert!(["abc", "", "1X", "-1", "1.5G"].iter().all(|t| mebibytes("mem", t).is_err()));
    }

    #[test]
    fn arrays() {
        let indices = |t: &str| array(t).unwrap().indices();
        assert_eq!(indices("1,3-5,4"), [1, 3, 4, 5]);
        assert_eq!((indices("2-6:2%1"), array("2-6:2%1").unwrap().throttle), (vec![2, 4, 6], Some(1)));
        assert_eq!((array("2-6:2").unwrap().step(), array("1,2").unwrap().step()), (2, 1));
        for text in ["", "abc", "5-1", "1-", "1-5:0", "1%0", "1,,2", "3:2", "0-99999999"] {
            assert!(array(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_and_exports() {
        let early = early_signal("B:USR2@30").unwrap();
        assert_eq!((early.signal, early.before_s, early.batch_only), (12, 30, true));
        assert_eq!(
            early_signal("SIGTERM").unwrap(),
            EarlySignal { signal: 15, before_s: 60, batch_only: false }
        );
        assert!(early_signal("FOO").is_err() && early_signal("USR1@x").is_err());
        assert_eq!(export("ALL,A=1"), Export::All(vec![("A".into(), "1".into())]));
        assert_eq!(export("NONE"), Export::Only(vec![], vec![]));
        assert_eq!(export("PATH,B=2"), Export::Only(vec!["PATH".into()], vec![("B".into(), "2".into())]));
    }

    #[test]
    fn mail() {
        assert!(mail_types("ALL") && mail_types("begin,END,FAIL"));
        assert!(!mail_types("FOO") && !mail_types("END,") && !mail_types(""));
    }

    #[test]
    fn node_counts() {
        assert_eq!((nodes("2"), nodes("1-4"), nodes("1k")), (Ok(2), Ok(1), Ok(1000)));
        assert!(
            ["abc", "0", "4-1", ""].iter().all(|t| nodes(t).unwrap_err().contains("not a valid node count"))
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,20}") {
            let _ = (time_s("time", &text), mebibytes("mem", &text), array(&text), early_signal(&text), nodes(&text));
            let _ = (export(&text), count("ntasks", &text), signal_number(&text));
        }
    }
}
