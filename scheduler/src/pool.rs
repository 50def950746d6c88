//! A pool: journal, engine and API of one state directory, from start to end.

use crate::api::{Shared, router};
use crate::blobs::Blobs;
use crate::door::{Caller, NOBODY, Way, Whose};
use crate::engine::{Engine, Running};
use crate::home::{Home, HomeError};
use crate::journal::{Journal, JournalFault};
use crate::network::{self, Network, NetworkError};
use crate::returns::Returns;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use muster_core::books::Books;
use muster_core::books::event::Event;
use muster_core::books::partition::Partition;
use muster_core::books::rules::Rules;
use muster_core::cluster::{Host, HostId, Shape};
use muster_core::payload::BlobId;
use muster_core::protocol::clerk::{Ask, Clerk, Told};
use muster_core::protocol::controller::{Answer, Request};
use muster_core::protocol::lease::Lease;
use muster_core::protocol::standing::Standing;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::net::UnixListener;

/// How often what no job has any more is looked for.
const SWEEP: Duration = Duration::from_secs(600);

/// The partition of a pool that nobody has configured.
pub const PARTITION: &str = "main";

/// A pool that is up.
pub struct Pool {
    running: Running,
    shared: Arc<Shared>,
    home: Home,
    /// Where other hosts come in.
    listener: Option<std::net::TcpListener>,
    /// Ends with the pool what removes blobs.
    _sweeper: Sender<()>,
}

/// Why a pool does not come up.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its state directory cannot be had.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The door of other hosts does not open.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A file or socket.
    #[error("{what}: {error}")]
    Io {
        /// What was done.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The pool's own host or partition is refused.
    #[error("{0}")]
    Refused(String),
}

/// What there is before the first record.
pub fn fresh() -> Standing<Clerk> {
    Standing::new(Clerk::new(Books::new(Rules::default())))
}

impl Pool {
    /// Brings the pool of a state directory up: its journal is read back, and its engine runs. Nothing listens yet.
    /// Leases last so many seconds, where that is said; a pool keeps to what was said first. What is told to end is killed
    /// after so many.
    ///
    /// # Errors
    /// When another pool has the directory, its leases are of another length, or the journal cannot be read.
    pub fn up(
        state: &Path,
        (lease_s, kill_wait_s): (Option<u32>, Option<u32>),
        whose: Whose,
    ) -> Result<Pool, PoolError> {
        let home = Home::take(state)?;
        home.admit(&whose)?;
        let rules =
            Lease { kill_wait_ms: i64::from(home.kill_wait_s(kill_wait_s)?) * 1000, ..home.lease(lease_s)? };
        let io = |what: &str| {
            let what = what.to_owned();
            move |error| PoolError::Io { what, error }
        };
        let blobs = Arc::new(Blobs::open(state).map_err(io("cannot keep scripts"))?);
        let (journal, standing) = Journal::open(&home.journal(), fresh())?;
        blobs.keep_only(&used(&standing)).map_err(io("cannot look through scripts"))?;
        let is_known = |job| standing.desk.books().job(job).is_some();
        let returns = Returns::open(state, is_known).map_err(io("cannot look through output"))?;
        let running = Running::start(rules, journal, standing);
        // The engine has just begun.
        let _ = running.engine().returns(returns.serve(running.engine().clone(), blobs.clone()));
        let sweeper = sweep(running.engine().clone(), blobs.clone());
        let shared = Arc::new(Shared {
            engine: running.engine().clone(),
            blobs,
            returns,
            journal: home.journal(),
            owner: rustix::process::geteuid().as_raw(),
            whose,
            state: state.to_owned(),
            stop: tokio::sync::Notify::new(),
            rules,
            network: OnceLock::new(),
        });
        Ok(Pool { running, shared, home, listener: None, _sweeper: sweeper })
    }

    /// For those who ask.
    pub fn engine(&self) -> &Engine {
        self.running.engine()
    }

    /// What handlers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes sure that there is a partition.
    ///
    /// # Errors
    /// When the pool goes down meanwhile.
    pub fn partition(&self) -> Result<(), PoolError> {
        let (send, found) = bounded(1);
        let look = move |view: &crate::engine::View| {
            let _ = send.send(view.clerk.books().default_partition().is_some());
        };
        self.engine().look(look).map_err(|error| PoolError::Refused(error.to_string()))?;
        let there =
            found.recv().map_err(|_| PoolError::Refused("the pool went down while it came up".into()))?;
        if there {
            return Ok(());
        }
        self.site(Event::Partition(Partition { is_default: true, ..Partition::named(PARTITION) }))
    }

    /// Makes the pool's own host known, in its partition, and says its number. It keeps the labels that it had where none are
    /// given.
    ///
    /// # Errors
    /// When a host of this name was another one.
    pub fn host(
        &self,
        name: &str,
        shape: Shape,
        labels: Option<BTreeSet<String>>,
    ) -> Result<HostId, PoolError> {
        let (send, found) = bounded(1);
        let known = name.to_owned();
        let look = move |view: &crate::engine::View| {
            let books = view.clerk.books();
            drop(send.send(books.host(&known).cloned()));
        };
        let down = |_| PoolError::Refused("the pool went down while it came up".into());
        self.engine().look(look).map_err(|error| PoolError::Refused(error.to_string()))?;
        let host = found.recv().map_err(down)?;
        let host = host.unwrap_or_else(|| Host {
            partitions: [PARTITION.to_owned()].into(),
            ..Host::new(name, Shape { domains: Vec::new(), gpus: Vec::new() })
        });
        let labels = labels.unwrap_or_else(|| host.labels.clone());
        if shape.goes_on_as(&host.shape) && labels == host.labels {
            warn_of_memory(&host, &shape);
        } else {
            self.site(Event::Host(Box::new(Host { shape, labels, ..host })))?;
        }
        let (send, found) = bounded(1);
        let known = name.to_owned();
        let look = move |view: &crate::engine::View| {
            let hosts = view.clerk.books().hosts();
            let _ = send.send(hosts.iter().position(|host| host.name == known));
        };
        self.engine().look(look).map_err(|error| PoolError::Refused(error.to_string()))?;
        let number = found.recv().map_err(down)?;
        let host = HostId(number.expect("it was made known") as u32);
        self.shared.returns.is_of(host);
        Ok(host)
    }

    /// Opens the door for other hosts: at `ADDRESS[:PORT]`, or where it was last, or nowhere when it never was.
    ///
    /// # Errors
    /// When it does not open there.
    pub fn listen(&mut self, own: &str, asked: Option<&str>) -> Result<Option<Arc<Network>>, PoolError> {
        let Some((network, listener)) = Network::open(self.home.path(), own, asked)? else { return Ok(None) };
        self.listener = Some(listener);
        Ok(Some(self.shared.network.get_or_init(|| Arc::new(network)).clone()))
    }

    fn site(&self, event: Event) -> Result<(), PoolError> {
        let (send, told) = bounded(1);
        let asked = self.engine().ask(Request::Desk(Ask::Site(event)), move |answer| drop(send.send(answer)));
        asked.map_err(|error| PoolError::Refused(error.to_string()))?;
        match told.recv() {
            Ok(Answer::Desk(Told::Refused(why))) => Err(PoolError::Refused(match why {
                muster_core::protocol::clerk::Refusal::Books(error) => error.to_string(),
                other => format!("{other:?}"),
            })),
            Ok(_) => Ok(()),
            Err(_) => Err(PoolError::Refused("the pool went down while it came up".into())),
        }
    }

    /// Listens for local commands, and for other hosts where their door is open, until somebody ends the pool, or `ended` does; `ready` is called when it listens.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub async fn serve(
        &mut self,
        ready: impl FnOnce(),
        ended: impl Future<Output = ()>,
    ) -> Result<(), PoolError> {
        let socket = self.home.socket();
        // The lock is ours, so what is there is of one that is dead.
        let _ = std::fs::remove_file(&socket);
        let io = |error| PoolError::Io { what: format!("cannot listen on {}", socket.display()), error };
        let listener = UnixListener::bind(&socket).map_err(io)?;
        // Who comes in is told by the system, and what they may by the door.
        let mode = if self.shared.whose == Whose::Own { 0o600 } else { 0o666 };
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).map_err(io)?;
        let router = router(self.shared.clone());
        let door = self.listener.take().zip(self.shared.network.get().cloned());
        let (owner, far) = (Caller::owner(), router.clone());
        let other_hosts = async {
            match door {
                Some((listener, network)) => network::serve(listener, network, owner, far).await,
                None => std::future::pending().await,
            }
        };
        ready();
        let service = router.into_make_service_with_connect_info::<Caller>();
        tokio::select! {
            served = other_hosts => served.map_err(io)?,
            served = async { axum::serve(listener, service).await } => served.map_err(io)?,
            () = self.shared.stop.notified() => {}
            () = ended => {}
        }
        let _ = std::fs::remove_file(&socket);
        Ok(())
    }

    /// Ends it: all that is known is on disk.
    pub fn down(self) {
        self.running.stop();
    }
}

/// Has what jobs ran that are forgotten removed now and then, until what it returns is dropped.
fn sweep(engine: Engine, blobs: Arc<Blobs>) -> Sender<()> {
    let (sweeper, ended) = bounded::<()>(0);
    std::thread::spawn(move || {
        while ended.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
            let (send, found) = bounded(1);
            let asked = engine.look(move |view| drop(send.send(used(view.standing))));
            let (Ok(()), Ok(used)) = (asked, found.recv()) else { return };
            // What cannot be looked through now is looked through the next time.
            let _ = blobs.sweep(&used, SystemTime::now());
        }
    });
    sweeper
}

/// The blobs of jobs that are remembered.
fn used(standing: &Standing<Clerk>) -> BTreeSet<BlobId> {
    standing.desk.books().jobs().flat_map(|job| job.spec().blobs()).collect()
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Caller {
        // Who cannot be told is nobody.
        let nobody = (NOBODY, NOBODY);
        let (uid, gid) = stream.io().peer_cred().map_or(nobody, |peer| (peer.uid(), peer.gid()));
        Caller { uid, gid, user: crate::door::user_name(uid), way: Way::Socket }
    }
}

/// Says that a host has much less memory than the pool counts on.
pub(crate) fn warn_of_memory(known: &Host, seen: &Shape) {
    let (counted, has) = (known.shape.memory_mib(), seen.memory_mib());
    if has < counted - counted / 8 {
        eprintln!(
            "muster: host {} has {has} MiB of memory, and the pool counts on {counted} MiB, as before: to have less counted, \
             let it join under a new name",
            known.name
        );
    }
}
