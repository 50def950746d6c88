//! Reads a piece of a job's output for somebody on another host.
//!
//! Invariant: only a file proper is read, so nothing here waits for anybody.

use super::guise::{User, Users};
use muster_core::protocol::line::{MOST_PIECE, Piece, Reading};
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// What is asked for, as far as it is there, and as far as whoever asks may read it.
pub(super) fn read(reading: &Reading, users: Users) -> Piece {
    let read = || match users {
        Users::Own => piece(reading),
        Users::All => User::named(&reading.user).map_err(Error::other)?.act(|| piece(reading))?,
    };
    let what = match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", reading.path)),
    };
    Piece { number: reading.number, what }
}

fn piece(reading: &Reading) -> Result<Vec<u8>> {
    // A pipe without a writer would be waited for.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&reading.path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::other("it is no file that could be read again"));
    }
    file.seek(SeekFrom::Start(reading.from))?;
    let mut bytes = Vec::new();
    file.take(MOST_PIECE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn pieces_of_files_and_of_nothing_else() {
        let scratch = Scratch::new("reading");
        let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
        let user = "ada".to_owned();
        let ask = |name: &str, from| {
            let reading = Reading { number: 7, path: path(name), from, user: user.clone() };
            read(&reading, Users::Own)
        };
        std::fs::write(path("out"), "0123456789").unwrap();
        assert_eq!(ask("out", 4), Piece { number: 7, what: Ok(Some(b"456789".to_vec())) });
        assert_eq!(ask("out", 99).what, Ok(Some(Vec::new())));
        assert_eq!(ask("none", 0).what, Ok(None));
        assert!(ask("", 0).what.is_err(), "a folder");
        std::fs::write(path("long"), vec![1; MOST_PIECE as usize + 5]).unwrap();
        assert_eq!(ask("long", 0).what.unwrap().unwrap().len() as u64, MOST_PIECE);
    }
}
