//! docs/writing-a-kernel.md, done as it says: files are written, commands run, outputs compared, the run that it kills
//! is killed.
//!
//! What differs from a reader's machine: the crate is built in the profile and target folder of these tests, so that
//! what is compiled already is not compiled again.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A block of code: the word or two after its fence, the file that the line before names, and the text.
struct Block {
    info: String,
    file: Option<String>,
    text: String,
}

/// The blocks of the page, in order.
fn blocks(page: &str) -> Vec<Block> {
    let (mut out, mut file) = (Vec::new(), None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: String = lines.by_ref().take_while(|l| *l != "```").flat_map(|l| [l, "\n"]).collect();
            out.push(Block { info: info.to_owned(), file: file.take(), text });
        } else if !line.is_empty() {
            file = line.strip_prefix('`').and_then(|l| l.strip_suffix("`:")).map(str::to_owned);
        }
    }
    out
}

/// A reader: a folder with `muster` in it, and where the commands so far have led.
struct Reader {
    home: PathBuf,
    here: PathBuf,
    path: String,
    output: String,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Reader {
    fn new() -> Reader {
        let home = std::env::temp_dir().join(format!("mg-{}", std::process::id()));
        let (bin, programs) = (home.join("bin"), home.join("muster/target/release"));
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&programs).unwrap();
        for program in ["muster", "muster-rank"] {
            std::os::unix::fs::symlink(Path::new(MUSTER).with_file_name(program), programs.join(program))
                .unwrap();
        }
        // The profile of the tests in the place of the release's.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let shim = format!("#!/bin/bash\nexec {cargo} \"${{@/--release/--quiet}}\"\n");
        std::fs::write(bin.join("cargo"), shim).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join("cargo"), mode).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Reader { here: home.clone(), home, path, output: String::new() }
    }

    fn command(&self, script: &str) -> Command {
        let target = Path::new(MUSTER).parent().and_then(Path::parent).unwrap();
        let mut command = Command::new("bash");
        command.args(["-ec", script]).current_dir(&self.here).env("PATH", &self.path);
        command.env("MUSTER_STATE", self.home.join("state")).env("CARGO_TARGET_DIR", target);
        command.env("CARGO_NET_OFFLINE", "true");
        for name in
            ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]
        {
            command.env(name, "1");
        }
        for name in ["MUSTER_SIMD", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "MUSTER_RUN"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the commands of a block; the next block begins where they end.
    fn run(&mut self, script: &str) {
        let after = self.home.join("after");
        let script = format!("{script}\npwd > {0}\necho \"$PATH\" >> {0}\n", after.display());
        let output = self.command(&script).output().unwrap();
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{said}\n{wrong}");
        self.output = said.into_owned();
        let after = std::fs::read_to_string(after).unwrap();
        let (here, path) = after.trim_end().split_once('\n').unwrap();
        (self.here, self.path) = (here.into(), path.to_owned());
    }

    /// Writes a file of the crate.
    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.here.join(file), text.replace("../muster", ROOT)).unwrap();
        if file == "Cargo.toml" {
            std::fs::copy(Path::new(ROOT).join("Cargo.lock"), self.here.join("Cargo.lock")).unwrap();
            let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
            let manifest: toml::Table = manifest.parse().unwrap();
            let mut profile = toml::Table::from_iter([("profile".to_owned(), manifest["profile"].clone())]);
            // As fast as the reader's, whose build is a release.
            let quick = toml::Table::from_iter([("opt-level".to_owned(), 3.into())]);
            profile["profile"]["dev"]["package"]
                .as_table_mut()
                .unwrap()
                .insert("collatz-rank".into(), quick.into());
            std::fs::create_dir_all(self.here.join(".cargo")).unwrap();
            std::fs::write(self.here.join(".cargo/config.toml"), toml::to_string(&profile).unwrap()).unwrap();
            let built = Path::new(MUSTER).with_file_name("collatz-rank");
            std::fs::create_dir_all(self.here.join("target/release")).unwrap();
            std::os::unix::fs::symlink(built, self.here.join("target/release/collatz-rank")).unwrap();
        }
    }

    /// Starts a command, and kills it once its ledger holds something.
    fn kill(&self, script: &str) {
        let script = format!("exec {} --progress json", script.trim());
        let mut child = self.command(&script).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let kept = lines.by_ref().any(|_| {
            let listed = self.command("muster ledger list --json").output().unwrap();
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
            listed[0]["done"].as_u64() > Some(0)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(kept, "{script} ended before anything was in its ledger");
    }
}

#[test]
fn the_guide_does_what_it_says() {
    if !Path::new(MUSTER).with_file_name("pi-rank").exists() {
        eprintln!("passed over: no MPI here, so that no crate with a kernel can be built");
        return;
    }
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/writing-a-kernel.md")).unwrap();
    let mut reader = Reader::new();
    let mut kinds = Vec::new();
    for block in blocks(&page) {
        match (&*block.info, &block.file) {
            ("sh", None) => {
                reader.run(&block.text);
                let went_on = reader.output.contains(" of them from an earlier run");
                assert_eq!(went_on, block.text.contains("--resume"), "{}", reader.output);
            }
            ("sh kill", None) => reader.kill(&block.text),
            ("text", None) => {
                let lines =
                    block.text.lines().filter(|line| !reader.output.lines().any(|said| said == *line));
                assert_eq!(lines.collect::<Vec<_>>(), [""; 0], "not in what was said:\n{}", reader.output);
            }
            (_, Some(file)) => reader.write(file, &block.text),
            (info, None) => panic!("a block of `{info}` that nothing is done with:\n{}", block.text),
        }
        kinds.push(block.info);
    }
    for kind in ["sh", "sh kill", "text", "toml", "rust", "bash"] {
        assert!(kinds.iter().any(|k| k == kind), "the page has no block of `{kind}`");
    }
}
