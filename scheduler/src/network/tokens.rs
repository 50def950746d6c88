//! Tokens: the right to join as a host, or to log in as a client, once, within ten minutes.
//!
//! Invariants: only hashes are kept, in memory alone, so a token dies with its controller; a token that was used serves
//! nobody but the host that used it, for which an answer may have been lost; an address that guesses wrong too often is
//! heard no more for a while.

use super::secret::{Secret, SecretHash};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a token is good.
pub const GOOD_FOR: Duration = Duration::from_secs(600);
/// How many tokens are remembered; the oldest is forgotten for a new one.
const MOST_TOKENS: usize = 64;
/// How many wrong tokens one address may try in a [`WHILE`].
const MOST_WRONG: u32 = 10;
/// How many addresses that tried wrong ones are remembered; beyond, no other is heard.
const MOST_ADDRESSES: usize = 1024;
/// After how long wrong tokens are forgiven.
const WHILE: Duration = Duration::from_secs(60);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To be a host of the pool.
    Join,
    /// To give commands to it from another machine.
    LogIn,
}

/// Tokens that were made.
#[derive(Debug, Default)]
pub struct Tokens {
    made: Vec<Made>,
    wrong: BTreeMap<IpAddr, u32>,
    /// Since when wrong tokens are counted.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Made {
    hash: SecretHash,
    right: Right,
    until: Instant,
    used_by: Option<SecretHash>,
}

/// Why a token gives no right to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody made it, or the controller was started since.
    #[error(
        "this token is wrong, or was made before the pool came up: `muster token` on the pool's host makes another"
    )]
    Wrong,
    /// Somebody else has used it.
    #[error("this token is used: each is good once; `muster token` on the pool's host makes another")]
    Used,
    /// It is for something else.
    #[error(
        "this token is not for this: `muster token` on the pool's host makes one for `muster join`, and \
         `muster token --login` one for `muster login`"
    )]
    OtherRight,
    /// It is older than ten minutes.
    #[error("this token is older than ten minutes: `muster token` on the pool's host makes another")]
    Late,
    /// Its address has tried too many wrong ones.
    #[error("too many wrong tokens came from this address: wait a minute, and try again")]
    TooMany,
}

impl Tokens {
    /// A token of this hash is made.
    pub fn add(&mut self, hash: SecretHash, right: Right, now: Instant) {
        if self.made.len() >= MOST_TOKENS {
            self.made.remove(0);
        }
        self.made.push(Made { hash, right, until: now + GOOD_FOR, used_by: None });
    }

    /// Whether whoever has this credential may do something by a token, which came from an address.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &mut self,
        (token, right): (&Secret, Right),
        by: &SecretHash,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), TokenError> {
        if self.since.is_none_or(|since| now.duration_since(since) >= WHILE) {
            self.wrong.clear();
            self.since = Some(now);
        }
        let full = self.wrong.len() >= MOST_ADDRESSES;
        if self.wrong.get(&from).map_or(full, |wrong| *wrong >= MOST_WRONG) {
            return Err(TokenError::TooMany);
        }
        let hash = token.hash();
        let found = match self.made.iter().find(|made| made.hash == hash) {
            None => Err(TokenError::Wrong),
            Some(Made { used_by: Some(user), .. }) if user != by => Err(TokenError::Used),
            Some(made) if made.until <= now => Err(TokenError::Late),
            Some(made) if made.right != right => Err(TokenError::OtherRight),
            Some(_) => Ok(()),
        };
        if found.is_err() {
            *self.wrong.entry(from).or_default() += 1;
        }
        found
    }

    /// The token serves nobody else from now on.
    pub fn use_up(&mut self, token: &Secret, by: &SecretHash) {
        let hash = token.hash();
        self.made.iter_mut().filter(|made| made.hash == hash).for_each(|made| made.used_by = Some(*by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn a_token_is_good_once_and_for_ten_minutes() {
        let (token, other) = (Secret::make().unwrap(), Secret::make().unwrap());
        let (a, b) = (Secret::make().unwrap().hash(), Secret::make().unwrap().hash());
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        tokens.add(token.hash(), Right::Join, now);
        assert_eq!(tokens.check((&other, Right::Join), &a, HERE, now), Err(TokenError::Wrong));
        assert_eq!(tokens.check((&token, Right::Join), &a, HERE, now + GOOD_FOR), Err(TokenError::Late));
        assert_eq!(tokens.check((&token, Right::Join), &a, HERE, now), Ok(()));
        assert_eq!(tokens.check((&token, Right::LogIn), &a, HERE, now), Err(TokenError::OtherRight));
        tokens.use_up(&token, &a);
        assert_eq!(tokens.check((&token, Right::Join), &b, HERE, now), Err(TokenError::Used));
        assert_eq!(
            tokens.check((&token, Right::Join), &a, HERE, now),
            Ok(()),
            "its answer may have been lost"
        );
    }

    #[test]
    fn who_guesses_is_heard_no_more_for_a_while() {
        let (token, wrong, by) =
            (Secret::make().unwrap(), Secret::make().unwrap(), Secret::make().unwrap().hash());
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        tokens.add(token.hash(), Right::Join, now);
        for _ in 0..MOST_WRONG {
            assert_eq!(tokens.check((&wrong, Right::Join), &by, HERE, now), Err(TokenError::Wrong));
        }
        assert_eq!(tokens.check((&token, Right::Join), &by, HERE, now), Err(TokenError::TooMany));
        assert_eq!(tokens.check((&token, Right::Join), &by, THERE, now), Ok(()), "others are heard");
        assert_eq!(tokens.check((&token, Right::Join), &by, HERE, now + WHILE), Ok(()));
    }
}
