//! The messages of a team: between ranks, and between rank 0 and the foreman. Versioned; encoded with postcard.

use crate::placement::{PoolSeen, ThreadSeen};
use muster_core::plan::{HostShape, PoolPlan};
use muster_kernels::hash::Hash16;
use muster_spec::{Node, Problems};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of every message here. A rank and a foreman of different versions do not talk.
pub const VERSION: u32 = 5;

/// Everything that a team must know of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamJob {
    /// The kernel's name.
    pub kernel: String,
    /// The resolved spec as canonical JSON.
    pub spec_json: String,
    /// Threads in each rank; by default one for each core of the rank's share.
    pub threads: Option<u32>,
    /// How many bytes each rank may use for scratch and for what it keeps from round to round.
    pub memory_limit: Option<u64>,
    /// How many ranks share this rank's host; rank 0 finds out.
    pub sharers: u32,
    /// Vector instructions to use instead of the best.
    pub simd: Option<String>,
    /// Whether finished nodes shall be committed on the way: there is a ledger.
    pub commits: bool,
    /// Whether ranks shall tell where threads ran and memory lay.
    pub placement: bool,
}

/// Rank to rank.
#[derive(Debug, Serialize, Deserialize)]
pub enum RankMessage {
    /// Any rank to rank 0, first: what it sees.
    Hello(Hello),
    /// Rank 0 to any: the job and this rank's pools.
    Start(TeamJob, Vec<PoolPlan>),
    /// Any rank to rank 0: prepared and waiting for spans; the warnings of its start.
    Ready(Vec<String>),
    /// Rank 0 to any: a round begins from this state, encoded. The spans that follow are of this round.
    Round(Vec<u8>),
    /// Rank 0 to any: fold these.
    Spans(Vec<Node>),
    /// Any rank to rank 0: what became of a span.
    Folded(Folded),
    /// Rank 0 to any: every pool shall hand in its running partials.
    Gather,
    /// Any rank to rank 0: those of one pool.
    Gathered(Option<Piece>),
    /// Any rank to rank 0: the job cannot be done.
    Failed(Failure),
    /// Rank 0 to any: hand back what is finished, stop at the next block.
    Stop,
    /// Rank 0 to any: the team has ended.
    End,
}

/// What a rank says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The host's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The cores it sees.
    pub shape: HostShape,
    /// The hash of its program.
    pub program: Hash16,
}

/// The finished part of a span.
#[derive(Debug, Serialize, Deserialize)]
pub struct Folded {
    /// The span that was handed out.
    pub span: Node,
    /// Its largest finished subtrees: the span itself unless the team was stopped. None when it was added.
    pub pieces: Vec<Piece>,
    /// What of it was added to running partials.
    pub added: Added,
    /// Thread-seconds that its blocks took.
    pub busy_s: f64,
    /// What threads saw meanwhile, by pool.
    pub seen: Vec<(u32, Vec<ThreadSeen>)>,
}

/// What adding blocks to running partials came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// How many blocks: all of a span unless the team was stopped.
    pub blocks: u32,
    /// Thread-seconds that they took.
    pub busy_s: f64,
    /// Bytes of the largest running partial that a block was added to.
    pub bytes: u64,
}

/// Finished nodes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Which: one, but for running partials.
    pub nodes: Vec<Node>,
    /// Their partial, encoded.
    pub partial: Vec<u8>,
    /// The hashes of their leaves.
    pub leaves: Vec<LeafRun>,
}

/// Why a team gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The request or its input is wrong: no attempt can succeed.
    BadInput(Problems),
    /// The program is wrong or the machine unsuitable; the text says which.
    Broken(String),
    /// Something of this host has failed, such as a GPU: another attempt may succeed, here or elsewhere.
    Host(String),
}

/// What the foreman tells rank 0.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToTeam {
    /// Do this job, from what the ledger holds.
    Job(TeamJob, Standing),
    /// The last commit is on disk, and took so long: the next shall wait a hundred times that.
    Committed {
        /// Microseconds.
        cost_us: u64,
    },
    /// Stop at the next block, commit what is finished, end.
    Stop,
}

/// What rank 0 tells the foreman.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromTeam {
    /// First: the version of the messages that follow.
    Version(u32),
    /// The team is folding.
    Started(TeamShape),
    /// So many blocks of a round are finished, in the ledger or on the way to it.
    Progress {
        /// Which round, from 1.
        round: u32,
        /// Blocks.
        done: u32,
    },
    /// Where the team's threads ran and their memory lay, before the answer.
    Placed(Vec<PoolSeen>),
    /// Finished nodes to append to the ledger.
    Commit(Commit),
    /// The answer. Round, state and leaf hashes of the last round are here as far as no commit has carried them; records
    /// are not.
    Finished(Finished, Commit),
    /// Everything finished is committed, after [`ToTeam::Stop`].
    Drained,
    /// The team gives up.
    Failed(Failure),
}

/// Who is in the team.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeamShape {
    /// How many ranks.
    pub ranks: u32,
    /// How many threads in all.
    pub threads: u32,
    /// Host and process of each rank.
    pub members: Vec<(String, u32)>,
    /// The vector instructions of rank 0.
    pub simd: String,
    /// What went wrong while starting, without harm to the answer.
    pub warnings: Vec<String>,
}

/// Where a job stands: what the next team goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The round, from 1.
    pub round: u32,
    /// What the round began from, encoded; nothing before the first commit.
    pub state: Option<Vec<u8>>,
    /// What is finished of the round.
    pub records: Vec<Record>,
}

/// One append to the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The round, from 1.
    pub round: u32,
    /// What the round began from, encoded, in the first commit of a round: it ends the rounds before.
    pub state: Option<Vec<u8>>,
    /// Finished nodes. A record replaces earlier ones whose nodes it covers.
    pub records: Vec<Record>,
    /// Leaf hashes of blocks that no earlier commit had.
    pub leaves: Vec<LeafRun>,
}

/// The partial of some nodes: of one under `Order::Tree`, of any number under `Order::Free`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which nodes.
    pub nodes: Vec<Node>,
    /// Their partial, encoded.
    pub partial: Vec<u8>,
}

/// The leaf hashes of consecutive blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafRun {
    /// The first block.
    pub first: u32,
    /// One for each block from there.
    pub hashes: Vec<Hash16>,
}

/// A computed answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Seconds from the first span to the root's partial.
    pub fold_s: f64,
    /// For programs: JSON.
    pub json: String,
    /// For people.
    pub text: String,
    /// BLAKE3 over the canonical encoding.
    pub hash: String,
}

/// Encodes a message.
///
/// # Panics
/// Never: every message here can be encoded.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages encode")
}

/// Decodes a message.
///
/// # Errors
/// When the bytes are not such a message, as between different versions.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Failure> {
    postcard::from_bytes(bytes).map_err(|e| {
        Failure::Broken(format!(
            "a message of the team cannot be read ({e}): do all hosts run the same version?"
        ))
    })
}
