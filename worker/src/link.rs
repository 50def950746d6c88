//! The line between rank 0 and its foreman: channels within a process, frames on a Unix socket between two.

use crate::wire::{FromTeam, ToTeam, encode};
use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// Rank 0's end.
pub struct Link {
    to_foreman: ToForeman,
    /// What the foreman says; disconnected when it has ended.
    pub from_foreman: Receiver<ToTeam>,
}

enum ToForeman {
    Channel(Sender<FromTeam>),
    Socket(UnixStream),
}

/// The foreman's end.
pub struct Line {
    to_team: ToRankZero,
    /// What rank 0 says; disconnected when it has ended.
    pub from_team: Receiver<FromTeam>,
}

enum ToRankZero {
    Channel(Sender<ToTeam>),
    Socket(UnixStream),
}

/// Both ends, within this process.
pub fn within_process() -> (Link, Line) {
    let (to_foreman, from_team) = unbounded();
    let (to_team, from_foreman) = unbounded();
    (
        Link { to_foreman: ToForeman::Channel(to_foreman), from_foreman },
        Line { to_team: ToRankZero::Channel(to_team), from_team },
    )
}

impl Link {
    /// Rank 0's end of a connected socket.
    ///
    /// # Errors
    /// When the socket cannot be shared with the reading thread.
    pub fn over(stream: UnixStream) -> std::io::Result<Link> {
        let from_foreman = reader(stream.try_clone()?);
        Ok(Link { to_foreman: ToForeman::Socket(stream), from_foreman })
    }

    /// Tells the foreman. Returns false when it has ended.
    pub fn tell(&mut self, message: FromTeam) -> bool {
        match &mut self.to_foreman {
            ToForeman::Channel(channel) => channel.send(message).is_ok(),
            ToForeman::Socket(stream) => write_frame(stream, &message).is_ok(),
        }
    }
}

impl Line {
    /// The foreman's end of a connected socket.
    ///
    /// # Errors
    /// When the socket cannot be shared with the reading thread.
    pub fn over(stream: UnixStream) -> std::io::Result<Line> {
        let from_team = reader(stream.try_clone()?);
        Ok(Line { to_team: ToRankZero::Socket(stream), from_team })
    }

    /// Tells rank 0. Returns false when it has ended.
    pub fn tell(&mut self, message: ToTeam) -> bool {
        match &mut self.to_team {
            ToRankZero::Channel(channel) => channel.send(message).is_ok(),
            ToRankZero::Socket(stream) => write_frame(stream, &message).is_ok(),
        }
    }
}

fn write_frame<M: Serialize>(stream: &mut UnixStream, message: &M) -> std::io::Result<()> {
    let payload = encode(message);
    let mut frame = (payload.len() as u64).to_le_bytes().to_vec();
    frame.extend(payload);
    stream.write_all(&frame)
}

/// Reads frames on a thread of its own until the socket ends or holds something else.
fn reader<M: DeserializeOwned + Send + 'static>(stream: UnixStream) -> Receiver<M> {
    let (send, receive) = unbounded();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = [0; 8];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut payload = Vec::new();
            let length = u64::from_le_bytes(length);
            let whole =
                stream.by_ref().take(length).read_to_end(&mut payload).is_ok_and(|n| n as u64 == length);
            let message = postcard::from_bytes(&payload);
            if !whole || message.map_or(true, |message| send.send(message).is_err()) {
                return;
            }
        }
    });
    receive
}
