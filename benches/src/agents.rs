//! A pool of a thousand hosts on loopback: real agents' values behind real lines, whose jobs end at once.
//!
//! The controller is the one that people run, in a process of its own, its journal durable; the agents are all in this one,
//! so that their half of the work, TLS included, is done by the same cores.

use crate::pool::{Pool, submission, submit_many};
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use muster_core::cluster::Shape;
use muster_core::job::outcome::Outcome;
use muster_core::protocol::agent::{Agent, AgentInput, AgentOutput};
use muster_core::protocol::format::Format;
use muster_core::protocol::line::{FromHost, ToHost};
use muster_core::protocol::message::{Ended, Ending, FromShepherd, ToShepherd};
use muster_core::protocol::stamp::Boot;
use muster_core::time::Time;
use muster_scheduler::network::client::{Dialer, Line};
use muster_scheduler::network::secret::Secret;
use muster_scheduler::network::wire::{self, Described, Greeting, Invitation, Joining};
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const AGENTS: usize = 1_000;
const JOBS: usize = 100_000;
/// How long nothing may happen before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an agent has seen.
enum Seen {
    Started,
    /// The controller has its end on disk.
    Over,
    Failed(String),
}

/// Starts and ends a second, and the controller's memory.
pub(crate) fn agents() -> Result<(), String> {
    muster_worker::files::raise();
    let pool = Pool::up(&["--listen", "127.0.0.1:0"])?;
    pool.run(&["drain", &host_name()])?;
    submit_many(&pool, JOBS, &submission(false))?;
    let queued_kib = pool.memory_kib().unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let took = runtime.map_err(|e| e.to_string())?.block_on(drain(&pool))?;
    let rate = JOBS as f64 / took.as_secs_f64();
    println!("  {AGENTS} agents, {JOBS} jobs: {rate:.0} starts and ends a second");
    println!(
        "  controller: {} MiB with the jobs, {} MiB at most",
        queued_kib >> 10,
        pool.peak_kib().unwrap_or(0) >> 10
    );
    Ok(())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Has the agents do all that is queued; how long that takes, from the first start on.
async fn drain(pool: &Pool) -> Result<Duration, String> {
    let mut joined = Vec::new();
    for number in 0..AGENTS {
        joined.push(join(pool, number).await?);
    }
    let (tell, mut seen) = unbounded_channel();
    let began = Instant::now();
    for (number, (dialer, greeting)) in joined.into_iter().enumerate() {
        let tell = tell.clone();
        tokio::spawn(async move {
            let agent = Agent::new(greeting.rules, Boot(number as u64));
            let simulated = Simulated { agent, began, seen: tell.clone(), wake: Time(0) };
            if let Err(why) = serve(dialer, simulated).await {
                let _ = tell.send(Seen::Failed(why));
            }
        });
    }
    let (mut first, mut over) = (None, 0);
    while over < JOBS {
        match timeout(PATIENCE, seen.recv()).await.map_err(|_| format!("{over} of {JOBS} jobs are over"))? {
            Some(Seen::Started) => drop(first.get_or_insert_with(Instant::now)),
            Some(Seen::Over) => over += 1,
            Some(Seen::Failed(why)) => return Err(why),
            None => return Err("all agents are gone".into()),
        }
    }
    Ok(first.unwrap_or(began).elapsed())
}

async fn join(pool: &Pool, number: usize) -> Result<(Dialer, Greeting), String> {
    let told = |e: &dyn std::fmt::Display| format!("agent {number}: {e}");
    let invitation = pool.read(&["token", "--json"])?;
    let Invitation { place, token } = serde_json::from_str(&invitation).map_err(|e| told(&e))?;
    let place = place.parse().map_err(|e| told(&e))?;
    let credential = Secret::make().map_err(|e| told(&e))?;
    let joining = Joining { token, name: format!("a{number}"), credential: credential.hash() };
    let body = serde_json::to_vec(&joining).map_err(|e| told(&e))?;
    let anonymous = Dialer::new(&place, None).map_err(|e| told(&e))?;
    anonymous.ask(Method::POST, wire::JOIN, body).await.map_err(|e| told(&e))?;
    let dialer = Dialer::new(&place, Some(credential)).map_err(|e| told(&e))?;
    let shape = Shape::parse("1x1x1G").map_err(|e| told(&e))?;
    let body = serde_json::to_vec(&Described { shape, labels: BTreeSet::new() }).map_err(|e| told(&e))?;
    let answer = dialer.ask(Method::POST, wire::AGENT, body).await.map_err(|e| told(&e))?;
    Ok((dialer, serde_json::from_slice(&answer).map_err(|e| told(&e))?))
}

/// An agent whose jobs end as soon as they begin.
struct Simulated {
    agent: Agent,
    began: Instant,
    seen: UnboundedSender<Seen>,
    wake: Time,
}

impl Simulated {
    fn now(&self) -> Time {
        Time(self.began.elapsed().as_millis() as i64)
    }

    /// Hears something; what it has to say.
    fn hear(&mut self, input: AgentInput) -> Vec<FromHost> {
        let (mut inputs, mut says) = (VecDeque::from([input]), Vec::new());
        while let Some(input) = inputs.pop_front() {
            for output in self.agent.handle(self.now(), input) {
                match output {
                    AgentOutput::Send(message) => says.push(FromHost::Agent(message)),
                    AgentOutput::Launch(start, _) => {
                        let end = Ending::bare(Ended::Exited(Outcome::Completed));
                        inputs.push_back(AgentInput::Shepherd(start.id, FromShepherd::Ended(end)));
                        let _ = self.seen.send(Seen::Started);
                    }
                    AgentOutput::Tell(id, ToShepherd::Forget) => {
                        inputs.push_back(AgentInput::ShepherdDied(id));
                    }
                    AgentOutput::Unnote(_) => drop(self.seen.send(Seen::Over)),
                    AgentOutput::Wake(at) => self.wake = at,
                    AgentOutput::KillGroup(id) => inputs.push_back(AgentInput::GroupGone(id)),
                    AgentOutput::Note(_) | AgentOutput::Tell(..) | AgentOutput::Probe(..) => {}
                }
            }
        }
        says
    }
}

async fn serve(dialer: Dialer, mut agent: Simulated) -> Result<(), String> {
    let mut line: Line = dialer.line().await.map_err(|e| e.to_string())?;
    let mut says = agent.hear(AgentInput::Begin(Vec::new()));
    loop {
        for said in says {
            let bytes = Format::Message.encode(&said);
            line.send(Message::Binary(bytes.into())).await.map_err(|e| e.to_string())?;
        }
        let wait = Duration::from_millis((agent.wake.0.saturating_sub(agent.now().0)).max(0).unsigned_abs());
        says = match timeout(wait.min(PATIENCE), line.next()).await {
            Err(_) => agent.hear(AgentInput::Woken),
            Ok(Some(Ok(Message::Binary(bytes)))) => {
                match Format::Message.decode::<ToHost>(&bytes).map_err(|e| e.to_string())? {
                    ToHost::Agent(message) => agent.hear(AgentInput::Controller(message)),
                    _ => Vec::new(),
                }
            }
            Ok(Some(Ok(_))) => Vec::new(),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(None) => return Err("the pool has closed the line".into()),
        };
    }
}
