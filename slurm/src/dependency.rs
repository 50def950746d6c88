//! What a job asks of other jobs, as `--dependency` writes it: `afterok:12:13_4,singleton`, `after:12+30?afterany:13`.

use muster_core::job::dependency::{Clause, Dependency, Join, Target};
use muster_core::job::id::JobId;

/// The dependency that a text stands for; none where it is none.
///
/// A number alone asks that this job has ended, well or badly: so Slurm has read it from its first days.
pub fn parse(text: &str) -> Option<Dependency> {
    let join = match (text.contains(','), text.contains('?')) {
        (true, true) => return None,
        (_, true) => Join::Any,
        (_, false) => Join::All,
    };
    let mut clauses = Vec::new();
    for part in text.split([',', '?']) {
        let (word, jobs) = part.split_once(':').unwrap_or((part, ""));
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "singleton" if !part.contains(':') => clauses.push(Clause::Singleton),
            "after" | "afterany" | "afterok" | "afternotok" | "aftercorr" => {
                for job in jobs.split(':') {
                    clauses.push(clause(&word, job)?);
                }
            }
            _ => clauses.push(clause("afterany", part)?),
        }
    }
    Some(Dependency { join, clauses })
}

/// As Slurm writes it, jobs of one kind after each other.
pub fn print(dependency: &Dependency) -> String {
    let mut out = String::new();
    let mut before = None;
    for clause in &dependency.clauses {
        let word = clause.word();
        if before == Some(word) && *clause != Clause::Singleton {
            out.push(':');
        } else {
            if before.is_some() {
                out.push(if dependency.join == Join::Any { '?' } else { ',' });
            }
            out.push_str(word);
            out.push_str(if *clause == Clause::Singleton { "" } else { ":" });
        }
        before = Some(word);
        match clause {
            Clause::After { on, minutes: 0 } => out.push_str(&target_text(on)),
            Clause::After { on, minutes } => out.push_str(&format!("{}+{minutes}", target_text(on))),
            Clause::AfterAny(on) | Clause::AfterOk(on) | Clause::AfterNotOk(on) => {
                out.push_str(&target_text(on));
            }
            Clause::AfterCorr(job) => out.push_str(&job.to_string()),
            Clause::Singleton => {}
        }
    }
    out
}

/// One clause about one job.
fn clause(word: &str, job: &str) -> Option<Clause> {
    if word == "after" {
        let (job, minutes) = job.split_once('+').unwrap_or((job, "0"));
        return Some(Clause::After { on: target(job)?, minutes: number(minutes)? });
    }
    let on = target(job)?;
    match word {
        "afterok" => Some(Clause::AfterOk(on)),
        "afternotok" => Some(Clause::AfterNotOk(on)),
        // Element by element: it has no meaning for one element.
        "aftercorr" => on.element.is_none().then_some(Clause::AfterCorr(on.job)),
        _ => Some(Clause::AfterAny(on)),
    }
}

/// `12`, `12_3`, or `12_*` for all elements.
fn target(text: &str) -> Option<Target> {
    let (job, element) = match text.split_once('_') {
        Some((job, "*")) => (job, None),
        Some((job, element)) => (job, Some(number(element)?)),
        None => (text, None),
    };
    let job = JobId(number(job).filter(|&id| id > 0)?);
    Some(Target { job, element })
}

fn target_text(target: &Target) -> String {
    match target.element {
        Some(element) => format!("{}_{element}", target.job),
        None => target.job.to_string(),
    }
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(id: u32) -> Target {
        Target { job: JobId(id), element: None }
    }

    #[test]
    fn every_kind_is_read() {
        let element = Target { job: JobId(13), element: Some(4) };
        for (text, join, clauses) in [
            ("after:12", Join::All, vec![Clause::After { on: job(12), minutes: 0 }]),
            (
                "after:12+30:13_4+5",
                Join::All,
                vec![Clause::After { on: job(12), minutes: 30 }, Clause::After { on: element, minutes: 5 }],
            ),
            ("afterany:12", Join::All, vec![Clause::AfterAny(job(12))]),
            ("AFTEROK:12:13_4", Join::All, vec![Clause::AfterOk(job(12)), Clause::AfterOk(element)]),
            ("afternotok:12_*", Join::All, vec![Clause::AfterNotOk(job(12))]),
            ("aftercorr:12", Join::All, vec![Clause::AfterCorr(JobId(12))]),
            ("singleton,afterok:1", Join::All, vec![Clause::Singleton, Clause::AfterOk(job(1))]),
            ("afterok:1?afterany:2", Join::Any, vec![Clause::AfterOk(job(1)), Clause::AfterAny(job(2))]),
            ("12,13_4", Join::All, vec![Clause::AfterAny(job(12)), Clause::AfterAny(element)]),
        ] {
            assert_eq!(parse(text), Some(Dependency { join, clauses }), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "foo:1",
            "afterok",
            "afterok:",
            "afterok:x",
            "afterok:0",
            "afterok:1:",
            "afterok:1,",
            "afterok:1+5",
            "after:1+",
            "after:1+x",
            "singleton:1",
            "afterok:1,afterok:2?afterok:3",
            "aftercorr:1_2",
            "afterok:1_",
            "afterok:99999999999",
            "afterburstbuffer:1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn any_clause() -> impl Strategy<Value = Clause> {
        let target = (1..9_u32, prop::option::of(0..9_u32))
            .prop_map(|(id, element)| Target { job: JobId(id), element });
        prop_oneof![
            (target.clone(), 0..99_u32).prop_map(|(on, minutes)| Clause::After { on, minutes }),
            target.clone().prop_map(Clause::AfterAny),
            target.clone().prop_map(Clause::AfterOk),
            target.prop_map(Clause::AfterNotOk),
            (1..9_u32).prop_map(|id| Clause::AfterCorr(JobId(id))),
            Just(Clause::Singleton),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(clauses in prop::collection::vec(any_clause(), 1..6), any: bool) {
            let text = print(&Dependency { join: if any { Join::Any } else { Join::All }, clauses: clauses.clone() });
            let read = parse(&text).expect("a dependency");
            prop_assert_eq!(&read.clauses, &clauses, "{}", text);
            prop_assert_eq!(read.join == Join::Any, text.contains('?'));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|(after|ok|any|singleton|[0-9]{1,4}|[:,?_+*]){0,8}") {
            let _ = parse(&text);
        }
    }
}
