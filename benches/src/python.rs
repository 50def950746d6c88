//! Peers in Python: a script of `peers/`, the packages that `tools/setup --bench` fetches, and a folder for files.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One script.
pub(crate) struct Script {
    path: PathBuf,
    packages: PathBuf,
    /// Where its files lie, and stay for the next run.
    pub(crate) place: PathBuf,
}

impl Script {
    /// The script of that name, which imports `packages`.
    ///
    /// # Errors
    /// When there is no Python with these.
    pub(crate) fn find(muster: &Path, name: &str, packages: &str) -> Result<Script, String> {
        let target = muster.parent().and_then(Path::parent).ok_or("muster lies nowhere")?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
        let script = Script { path, packages: target.join("python"), place: target.join("bench") };
        let there = script.python().args(["-c", &format!("import {packages}")]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            return Err(format!("no Python with {packages} (tools/setup --bench)"));
        }
        std::fs::create_dir_all(&script.place).map_err(|e| e.to_string())?;
        Ok(script)
    }

    fn python(&self) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &self.packages);
        command
    }

    /// Runs it in its folder: what it prints, as JSON.
    ///
    /// # Errors
    /// When it fails, what it said.
    pub(crate) fn run<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T, String> {
        let output = self.python().arg(&self.path).args(words).current_dir(&self.place).output();
        let output = output.map_err(|e| e.to_string())?;
        match output.status.success() {
            true => serde_json::from_slice(&output.stdout).map_err(|e| e.to_string()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Has it make `file`, unless a run before has, by the words `make NAME`: it writes NAME, which is renamed when it is
    /// whole.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn make(&self, file: &str, more: &[&str]) -> Result<PathBuf, String> {
        let path = self.place.join(file);
        if !path.exists() {
            let new = format!("new-{file}");
            self.run::<()>(&[&["make", &new], more].concat())?;
            std::fs::rename(self.place.join(new), &path).map_err(|e| e.to_string())?;
        }
        Ok(path)
    }
}
