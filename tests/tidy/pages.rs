//! The rules for the job's way and for pages: each step is claimed by the opening comment of a file where it happens,
//! README.md leads to it, and every link in a page leads to something in the tree.

use crate::{Breach, File, Rule};
use std::collections::BTreeSet;

/// Each step of a job's way (README.md), and the folders where it happens.
const STEPS: &[(u8, &[&str])] = &[
    (1, &["slurm/examples/"]),
    (2, &["slurm/"]),
    (3, &["src/", "scheduler/"]),
    (4, &["scheduler/"]),
    (5, &["scheduler/core/"]),
    (6, &["scheduler/core/"]),
    (7, &["worker/"]),
    (8, &["worker/"]),
    (9, &["worker/"]),
    (10, &["kernels/"]),
    (11, &["kernels/"]),
    (12, &["worker/"]),
    (13, &["scheduler/"]),
];

/// Steps that are not built yet. A step that is claimed leaves this list.
const TO_COME: &[u8] = &[1];

/// The breaches of the step chain and of every Markdown page.
pub(crate) fn breaches(files: &[File]) -> Vec<Breach> {
    let mut out = step_breaches(files, TO_COME);
    for page in files.iter().filter(|f| f.path.ends_with(".md")) {
        out.extend(link_breaches(page, files));
    }
    out
}

fn step_breaches(files: &[File], to_come: &[u8]) -> Vec<Breach> {
    let claims: Vec<(&File, Vec<u8>)> = files
        .iter()
        .map(|f| (f, claimed(&opening(&f.text))))
        .filter(|(_, steps)| !steps.is_empty())
        .collect();
    let table = files.iter().find(|f| f.path == "README.md").map(steps_with_links).unwrap_or_default();
    let mut out = Vec::new();
    let mut broken = |path: &str, what: String| {
        out.push(Breach { rule: Rule::StepChain, path: path.to_owned(), line: 0, what });
    };
    for (step, folders) in STEPS {
        let there = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
        let is_claimed = claims.iter().any(|(file, steps)| there(&file.path) && steps.contains(step));
        let is_linked = table.iter().any(|(s, link)| s == step && there(link));
        match (to_come.contains(step), is_claimed) {
            (true, true) => {
                broken("tests/tidy/pages.rs", format!("step {step} is built: take it out of TO_COME"))
            }
            (false, false) => {
                let what =
                    format!("no file under {} opens with `Step {step} of a job's way`", folders.join(" or "));
                broken(folders[0], what);
            }
            _ => {}
        }
        if !to_come.contains(step) && !is_linked {
            let what = format!("step {step} has no row that links to {}", folders.join(" or "));
            broken("README.md", what);
        }
    }
    for (file, steps) in &claims {
        for step in steps.iter().filter(|s| !(1..=13).contains(*s)) {
            broken(&file.path, format!("claims step {step} of a job's way, which has 13"));
        }
    }
    out
}

/// The comment that a Rust source or a script opens with, on one line.
fn opening(text: &str) -> String {
    let comment = |line: &str| {
        let inner = line.strip_prefix("//!").or_else(|| line.strip_prefix('#'))?;
        Some(inner.trim().to_owned())
    };
    text.lines().map_while(comment).collect::<Vec<_>>().join(" ")
}

/// The steps that an opening comment claims: `Step 8 of a job's way`, `Steps 10, 11 and 12 of a job's way`.
fn claimed(opening: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (end, _) in opening.match_indices(" of a job's way") {
        let Some(start) = opening[..end].rfind("Step") else { continue };
        let numbers = opening[start..end].trim_start_matches("Steps").trim_start_matches("Step");
        let words = || numbers.split([' ', ',']).filter(|word| !word.is_empty() && *word != "and");
        // Anything else between the words is a sentence about something else.
        if words().all(|word| word.parse::<u8>().is_ok()) {
            out.extend(words().filter_map(|word| word.parse::<u8>().ok()));
        }
    }
    out
}

/// The rows of README's table of steps: the step's number with each link of its row.
fn steps_with_links(readme: &File) -> Vec<(u8, String)> {
    let mut out = Vec::new();
    for line in readme.text.lines() {
        let Some(step) = line.strip_prefix('|').and_then(|rest| rest.split('|').next()?.trim().parse().ok())
        else {
            continue;
        };
        out.extend(links(line).into_iter().map(|(_, link)| (step, link)));
    }
    out
}

/// The links of a page into the tree that lead nowhere.
fn link_breaches(page: &File, files: &[File]) -> Vec<Breach> {
    let known: BTreeSet<&str> = files.iter().flat_map(|f| prefixes(&f.path)).collect();
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut out = Vec::new();
    for (line, link) in links(&page.text) {
        let path = link.split('#').next().unwrap_or_default();
        let outside = path.is_empty() || link.contains("://") || link.starts_with("mailto:");
        if !outside && !resolve(folder, path).is_some_and(|p| p.is_empty() || known.contains(p.as_str())) {
            out.push(page.breach(Rule::Link, line, format!("`{link}` leads nowhere")));
        }
    }
    out
}

/// A path and all folders that it lies in.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// `path` seen from `folder`, without dots; `None` where it leaves the tree.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The targets of a page's inline links with their lines, outside fenced code.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut fenced = false;
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, mark) in line.match_indices("](") {
            let target = line[at + mark.len()..].split(')').next().unwrap_or_default();
            out.push((number + 1, target.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn claims_are_read_from_openings_alone() {
        let text = "//! A noun.\n//!\n//! Steps 10 and 11 of a job's\n//! way: x. Step 12 of a job's way.\nfn a() {}\n//! Step 1 of a job's way\n";
        assert_eq!(claimed(&opening(text)), [10, 11, 12]);
        assert_eq!(claimed(&opening("#!/bin/bash\n#SBATCH -n 3\n# Step 1 of a job's way.\n")), [1]);
        assert_eq!(claimed("Step aside for a moment of a job's way"), [0; 0]);
    }

    #[test]
    fn an_unclaimed_step_is_seen_and_so_is_a_false_one() {
        let all: Vec<u8> = (1..=13).collect();
        let without = |step| all.iter().copied().filter(|s| *s != step).collect::<Vec<u8>>();
        let readme = file("README.md", "| 8 | the team | [team](worker/src/team.rs) |\n");
        let team = file("worker/src/team.rs", "//! The team. Step 8 of a job's way.\n");
        assert_eq!(step_breaches(&[readme, team], &without(8)), []);

        let elsewhere = file("kernels/src/team.rs", "//! The team. Step 8 of a job's way.\n");
        let found = step_breaches(&[elsewhere], &without(8));
        assert_eq!(found.iter().map(|b| b.path.as_str()).collect::<Vec<_>>(), ["worker/", "README.md"]);

        let early = file("scheduler/core/src/a.rs", "//! Step 13 of a job's way.\n");
        assert!(step_breaches(&[early], &all)[0].what.contains("TO_COME"));
        let wild = file("a.rs", "//! Step 14 of a job's way.\n");
        assert!(step_breaches(&[wild], &all)[0].what.contains("which has 13"));
    }

    #[test]
    fn dead_links_are_seen() {
        let tree = [file("src/main.rs", ""), file("docs/a.md", "")];
        let text = "[a](../src/main.rs#x) [b](a.md) [c](../src/) [d](https://x.y/z) [e](#here)\n\
                    ```\n[f](no)\n```\n[g](../no.rs) [h](../../out)\n[i](.. \"title\")\n";
        let found = link_breaches(&file("docs/b.md", text), &tree);
        let whats: Vec<(usize, &str)> = found.iter().map(|b| (b.line, b.what.as_str())).collect();
        assert_eq!(whats, [(5, "`../no.rs` leads nowhere"), (5, "`../../out` leads nowhere")]);
    }
}
