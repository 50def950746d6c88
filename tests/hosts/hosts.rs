//! Several hosts on this machine, out of namespaces: each has its own network and address, host name, processes, home,
//! /tmp and /dev/shm, and two users, ada and bob, beside those of the machine, with an account of the system's, muster. They share what is installed, and nothing that anybody writes.
//!
//! Invariant: nothing outlives the test, however it ends: the first process of a host reads a pipe from the test, and ends
//! with it, and the kernel ends the rest.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// What the first process of a host does: its own mounts, a word that they are made, and nothing more until the test ends.
/// A shell buries whoever loses its parent.
const FIRST: &str = r#"
set -e
mount --bind "$PROGRAMS" /mnt
hostname "h$NUMBER"
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mkdir /tmp/work /tmp/home
mkdir -m 700 /tmp/ada /tmp/bob /tmp/muster /tmp/root
printf '127.0.0.1 localhost\n%b' "$NAMES" > /tmp/names
cp /etc/passwd /etc/group /tmp
printf '%s\n' ada:x:2001:2001::/tmp/ada:/bin/sh bob:x:2002:2002::/tmp/bob:/bin/sh muster:x:301:301::/tmp/muster:/bin/sh >> /tmp/passwd
printf '%s\n' ada:x:2001: bob:x:2002: muster:x:301: lab:x:2100:ada,bob >> /tmp/group
chown 2001:2001 /tmp/ada && chown 2002:2002 /tmp/bob && chown 301:301 /tmp/muster
chmod 711 /tmp/muster
mount --bind /tmp/passwd /etc/passwd
mount --bind /tmp/group /etc/group
mount --bind /tmp/names /etc/hosts
echo ready
while read -r line; do :; done
"#;

/// The switch that they hang on.
const SWITCH: &str = "set -e; ip link add switch type bridge; ip link set switch up; echo ready; while read -r line; do :; done";

/// Hosts h1, h2, ... on one network.
pub(crate) struct Hosts {
    switch: Namespace,
    hosts: Vec<Option<Namespace>>,
}

/// A process that was started in namespaces of its own, and holds them.
struct Namespace {
    /// `unshare`, which waits for it.
    outer: Child,
    /// The process in them.
    pid: u32,
}

impl Hosts {
    /// So many hosts; none where this is not allowed, which is said.
    pub(crate) fn new(count: usize) -> Option<Hosts> {
        let made = Hosts::make(count);
        if let Err(why) = &made {
            println!("passed over: hosts cannot be made of namespaces here ({why})");
        }
        made.ok()
    }

    fn make(count: usize) -> Result<Hosts, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("that takes root".into());
        }
        let switch = Namespace::start(&["--net"], SWITCH, &[])?;
        let mut hosts = Hosts { switch, hosts: Vec::new() };
        for _ in 0..count {
            hosts.hosts.push(None);
        }
        (1..=count).try_for_each(|number| hosts.start(number))?;
        Ok(hosts)
    }

    /// Starts a host, which is not there: a new life of it.
    ///
    /// # Errors
    /// What is not allowed here.
    pub(crate) fn start(&mut self, number: usize) -> Result<(), String> {
        let programs = Path::new(env!("CARGO_BIN_EXE_muster")).parent().ok_or("no folder of programs")?;
        let names: String = (1..=self.hosts.len()).map(|n| format!("{} h{n}\\n", address(n))).collect();
        let variables =
            [("PROGRAMS", programs.display().to_string()), ("NUMBER", number.to_string()), ("NAMES", names)];
        let own = ["--net", "--uts", "--mount", "--pid", "--ipc", "--mount-proc"];
        let host = Namespace::start(&own, FIRST, &variables)?;
        let (port, pid) = (format!("port{number}"), host.pid.to_string());
        // A link that is made anew has the address that others remember.
        let card = format!("02:00:00:00:00:{number:02x}");
        let _ = self.switch.run(&["ip", "link", "del", &port]);
        self.switch.run(&[
            "ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "address", &card, "netns",
            &pid,
        ])?;
        self.switch.run(&["ip", "link", "set", &port, "master", "switch", "up"])?;
        host.run(&["ip", "address", "add", &format!("{}/24", address(number)), "dev", "eth0"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        host.run(&["ip", "link", "set", "lo", "up"])?;
        self.hosts[number - 1] = Some(host);
        Ok(())
    }

    /// Kills all of a host at once.
    pub(crate) fn kill(&mut self, number: usize) {
        drop(self.hosts[number - 1].take().expect("it is there"));
    }

    /// Cuts the link of a host.
    pub(crate) fn cut(&self, number: usize) {
        self.switch.run(&["ip", "link", "set", &format!("port{number}"), "down"]).expect("it has a link");
    }

    /// Mends it.
    pub(crate) fn mend(&self, number: usize) {
        self.switch.run(&["ip", "link", "set", &format!("port{number}"), "up"]).expect("it has a link");
    }

    /// A command on a host, not started: in its work directory, with muster on `PATH`.
    pub(crate) fn command(&self, number: usize, words: &[&str]) -> Command {
        let host = self.hosts[number - 1].as_ref().expect("the host is there");
        let mut command = host.command(&["sh", "-c", "cd /tmp/work && exec \"$@\"", "sh"]);
        let path = format!("/mnt:{}", std::env::var("PATH").unwrap_or_default());
        command.args(words).env("PATH", path).env("HOME", "/tmp/home").env("MUSTER_STATE", "/tmp/state");
        command.env_remove("TMPDIR").stdin(Stdio::null());
        command
    }

    /// The same as a user, in that user's home.
    pub(crate) fn command_as(&self, (number, user): (usize, &str), words: &[&str]) -> Command {
        let script = "cd /tmp/$0 && exec setpriv --reuid $0 --regid $0 --init-groups \"$@\"";
        let mut command = self.command(number, &[&["sh", "-c", script, user], words].concat());
        command.env("HOME", format!("/tmp/{user}")).env("USER", user).env("MUSTER_STATE", "/tmp/muster/pool");
        command
    }

    /// Has a host enter a pool by a command that reads the token, which somebody was told of.
    pub(crate) fn enter(&self, number: usize, told: &str, words: &[&str]) {
        let is_token = |line: &&str| line.len() == 32 && line.bytes().all(|b| b.is_ascii_alphanumeric());
        let token = told.lines().map(str::trim).find(is_token).expect("it prints a token");
        let mut command = self.command(number, &[words, &["--token-file", "/dev/stdin"]].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(format!("{token}\n").as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "h{number}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The work directory of a host, as it is seen from here.
    pub(crate) fn folder(&self, number: usize) -> PathBuf {
        let host = self.hosts[number - 1].as_ref().expect("the host is there");
        let own = Path::new("/proc").join(host.pid.to_string()).join("root");
        own.join("tmp/work")
    }

    /// Runs a command on a host.
    pub(crate) fn run(&self, number: usize, words: &[&str]) -> Output {
        self.command(number, words).output().expect("it starts")
    }

    /// What a command prints on a host, where it ends well.
    pub(crate) fn ok(&self, number: usize, words: &[&str]) -> String {
        let output = self.run(number, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "h{number}: {words:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The address of a host.
pub(crate) fn address(number: usize) -> String {
    format!("10.63.0.{number}")
}

impl Namespace {
    fn start(own: &[&str], script: &str, variables: &[(&str, String)]) -> Result<Namespace, String> {
        let mut command = Command::new("unshare");
        command.args(own).args(["--fork", "--kill-child", "bash", "-c", script]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outer = command.spawn().map_err(|e| format!("unshare: {e}"))?;
        let mut said = String::new();
        let mut lines = BufReader::new(outer.stdout.take().expect("piped"));
        lines.read_line(&mut said).map_err(|e| e.to_string())?;
        if said != "ready\n" {
            let output = outer.wait_with_output().map_err(|e| e.to_string())?;
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let children = std::fs::read_to_string(children).map_err(|e| e.to_string())?;
        let pid = children.trim().parse().map_err(|_| "unshare has no child".to_owned())?;
        Ok(Namespace { outer, pid })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.pid.to_string(), "--"]).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Result<(), String> {
        let output = self.command(words).output().map_err(|e| format!("nsenter: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("{words:?}: {}", said.trim())) }
    }
}

impl Drop for Namespace {
    /// Returns when all that was in them is dead: the kernel lets their first process go last.
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.outer.wait();
    }
}
