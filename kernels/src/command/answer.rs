//! What the runs have handed over, all together: printed, or written where `--out` says.

use super::files;
use super::partial::CommandPartial;
use muster_spec::command::CommandSpec;
use muster_spec::{Problem, Problems};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The output of all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandAnswer {
    runs: u32,
    output: Output,
    /// Where it was written.
    out: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Text(Vec<u8>),
    Files(BTreeMap<String, Vec<u8>>),
}

impl CommandAnswer {
    /// Writes the answer where the request says. It is there as a whole when this returns, or not at all.
    ///
    /// # Errors
    /// When it cannot be written, or cannot be printed and nothing says where to write it.
    pub(super) fn deliver(spec: &CommandSpec, root: CommandPartial) -> Result<CommandAnswer, Problems> {
        let parts = root.parts.into_iter().map(|(name, part)| (name, part.into_bytes()));
        let output = match &spec.files {
            Some(_) => Output::Files(parts.collect()),
            None => Output::Text(parts.map(|(_, bytes)| bytes).next().unwrap_or_default()),
        };
        let out = spec.out.as_ref().map(|out| out.path().to_owned());
        if let Some(path) = &out {
            let written = match &output {
                Output::Text(bytes) => files::write_file(path, bytes),
                Output::Files(all) => files::write_folder(path, all),
            };
            written.map_err(|why| {
                Problem::new("--out", format!("cannot write {}: {why}", path.display())).hint(
                    "the same command with --resume goes on from the ledger, and may name another --out",
                )
            })?;
        } else if let Output::Text(bytes) = &output
            && let Err(error) = std::str::from_utf8(bytes)
        {
            let what = format!("byte {} of the output is not UTF-8 text", error.valid_up_to());
            let hint = "the same command with --resume and --out FILE writes the bytes as they are";
            return Err(Problem::new("standard output", what).hint(hint).into());
        }
        Ok(CommandAnswer { runs: spec.grid().blocks(), output, out })
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// For programs: the text where it was not written to a file, or the list of files. For the answer's hash: the
/// contents alone, wherever they went.
impl Serialize for CommandAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return match &self.output {
                Output::Text(bytes) => ("text", blake3::hash(bytes).as_bytes()).serialize(serializer),
                Output::Files(all) => {
                    let hashes: Vec<_> =
                        all.iter().map(|(name, bytes)| (name, *blake3::hash(bytes).as_bytes())).collect();
                    ("files", hashes).serialize(serializer)
                }
            };
        }
        let mut answer = serializer.serialize_struct("CommandAnswer", 5)?;
        answer.serialize_field("runs", &self.runs)?;
        match &self.output {
            Output::Text(bytes) => {
                answer.serialize_field("bytes", &bytes.len())?;
                answer.serialize_field("blake3", &hash(bytes))?;
                if self.out.is_none() {
                    answer.serialize_field("output", &String::from_utf8_lossy(bytes))?;
                }
            }
            Output::Files(all) => {
                let list: Vec<_> = all
                    .iter()
                    .map(|(name, bytes)| {
                        serde_json::json!({ "name": name, "bytes": bytes.len(), "blake3": hash(bytes) })
                    })
                    .collect();
                answer.serialize_field("files", &list)?;
            }
        }
        if let Some(out) = &self.out {
            answer.serialize_field("out", out)?;
        }
        answer.end()
    }
}

impl fmt::Display for CommandAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.output, &self.out) {
            (Output::Text(bytes), None) => f.write_str(&String::from_utf8_lossy(bytes)),
            (Output::Text(bytes), Some(out)) => {
                writeln!(f, "{} bytes of {} runs in {}", bytes.len(), self.runs, out.display())
            }
            (Output::Files(all), out) => {
                for (name, bytes) in all {
                    writeln!(f, "{:>12}  {name}", bytes.len())?;
                }
                let out = out.as_deref().unwrap_or(std::path::Path::new("")).display();
                writeln!(f, "{} files of {} runs in {out}", all.len(), self.runs)
            }
        }
    }
}
