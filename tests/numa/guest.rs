//! A Linux guest with NUMA domains of its own: packed from programs of this host, booted under qemu, listened to.
//!
//! The processor is emulated, so nothing is asked of the host but the packages that `make test` installs: qemu,
//! busybox and a kernel, which tools/setup unpacks into the target folder. qemu exits 0 whatever happens, so what the
//! guest prints decides.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A guest that says nothing more by then is dead.
const LIMIT: Duration = Duration::from_secs(150);

/// What a guest is made of.
pub(crate) struct Kit {
    qemu: PathBuf,
    busybox: PathBuf,
    kernel: PathBuf,
}

impl Kit {
    /// What this host has for it.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find() -> Result<Kit, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("the guest is an x86-64 machine".into());
        }
        let lack =
            |what: &str| format!("no {what} here; where apt can be used, tools/setup --test brings it");
        let program = |name: &str| on_path(name).ok_or_else(|| lack(name));
        let (qemu, busybox) = (program("qemu-system-x86_64")?, program("busybox")?);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
        let kernel = target.join("guest/vmlinuz");
        if !kernel.exists() {
            return Err(lack(&kernel.display().to_string()));
        }
        Ok(Kit { qemu, busybox, kernel })
    }
}

/// The first program of this name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The files of a guest, in a folder that goes with this value.
pub(crate) struct Root {
    dir: PathBuf,
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::remove_file(self.archive());
    }
}

impl Root {
    /// Busybox, and an init that runs the shell script `job`.
    pub(crate) fn new(kit: &Kit, name: &str, job: &str) -> Root {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let root = Root { dir };
        for folder in ["proc", "sys", "dev", "tmp", "root", "etc"] {
            fs::create_dir_all(root.dir.join(folder)).unwrap();
        }
        root.program(&kit.busybox, "busybox");
        root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        root.write("job", job);
        let init = root.dir.join("init");
        fs::write(&init, include_str!("init.sh")).unwrap();
        fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        root
    }

    /// A file with this text.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.dir.join(path), text).unwrap();
    }

    /// A program of this host as `/bin/NAME`, without what is for debuggers, and the libraries it needs.
    pub(crate) fn program(&self, from: &Path, name: &str) {
        let to = self.dir.join("bin").join(name);
        fs::create_dir_all(self.dir.join("bin")).unwrap();
        let stripped = Command::new("strip").arg("-o").arg(&to).arg(from).stderr(Stdio::null()).status();
        if !stripped.is_ok_and(|status| status.success()) {
            fs::copy(from, &to).unwrap();
        }
        needs([from]).values().flatten().for_each(|library| self.copy(library));
    }

    /// Files of this host at their own places, and the libraries they need.
    pub(crate) fn carry<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) {
        let paths: Vec<&Path> = paths.into_iter().collect();
        paths.iter().for_each(|path| self.copy(path));
        needs(paths).values().flatten().for_each(|library| self.copy(library));
    }

    fn copy(&self, path: &Path) {
        let to = self.dir.join(path.strip_prefix("/").expect("an absolute path"));
        if !to.exists() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(path, &to).unwrap();
        }
    }

    fn archive(&self) -> PathBuf {
        self.dir.with_extension("cpio")
    }

    /// Packs the files as the kernel unpacks them.
    fn pack(&self, kit: &Kit) -> PathBuf {
        let archive = self.archive();
        let pack = format!("find . | {} cpio -o -H newc 2>/dev/null", kit.busybox.display());
        let out = fs::File::create(&archive).unwrap();
        let packed = Command::new("sh").args(["-c", &pack]).current_dir(&self.dir).stdout(out).status();
        assert!(packed.unwrap().success(), "{pack}");
        archive
    }
}

/// The libraries that `ldd` names for each file, with theirs, but those that it does not find. A static program has
/// none.
pub(crate) fn needs<'a>(paths: impl IntoIterator<Item = &'a Path>) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    // Given several files, ldd says whose libraries follow; the same file twice is several.
    let mut command = Command::new("ldd");
    let output = command.args(paths).arg("/bin/sh").output().unwrap();
    let (mut all, mut of) = (BTreeMap::<_, Vec<_>>::new(), PathBuf::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.strip_suffix(':') {
            Some(path) => of = path.into(),
            None => {
                let libraries = line.split_whitespace().filter(|word| word.starts_with('/'));
                all.entry(of.clone()).or_default().extend(libraries.map(PathBuf::from));
            }
        }
    }
    all
}

/// A machine with NUMA domains.
pub(crate) struct Domains<'a> {
    /// Whether each has CPUs: two of them, in a socket of their own, numbered in this order.
    pub(crate) cpus: &'a [bool],
    /// The memory of each, in MiB; 0 for none.
    pub(crate) memory_mib: &'a [u32],
    /// How far they are apart.
    pub(crate) distances: &'a [&'a [u32]],
}

impl Domains<'_> {
    /// The words that describe it to qemu.
    fn words(&self) -> Vec<String> {
        let n = self.memory_mib.len();
        let sockets = self.cpus.iter().filter(|has| **has).count();
        let mib: u32 = self.memory_mib.iter().sum();
        let mut words = vec![format!("-smp {},sockets={sockets},cores=2 -m {mib}", 2 * sockets)];
        let mut cpu = 0;
        for (id, (has, mib)) in self.cpus.iter().zip(self.memory_mib).enumerate() {
            let memory = if *mib > 0 {
                words.push(format!("-object memory-backend-ram,id=m{id},size={mib}M"));
                format!(",memdev=m{id}")
            } else {
                String::new()
            };
            let cpus = if *has { format!(",cpus={cpu}-{}", cpu + 1) } else { String::new() };
            cpu += if *has { 2 } else { 0 };
            words.push(format!("-numa node,nodeid={id}{cpus}{memory}"));
        }
        for from in 0..n {
            let far = |to: usize| format!("-numa dist,src={from},dst={to},val={}", self.distances[from][to]);
            words.extend((0..n).filter(|&to| to != from).map(far));
        }
        words.join(" ").split(' ').map(str::to_owned).collect()
    }
}

/// What a command printed in the guest.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Its exit code; `None` when it did not end.
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
}

/// What a guest printed, by the names of its sections.
pub(crate) struct Said(BTreeMap<String, Section>);

impl Said {
    /// The lines of a section that ended well.
    pub(crate) fn of(&self, name: &str) -> &[String] {
        let section = self.0.get(name).unwrap_or_else(|| panic!("the guest has no section {name}"));
        assert_eq!(section.code, Some(0), "{name}:\n{}", section.lines.join("\n"));
        &section.lines
    }

    /// A section, if the guest got to it.
    pub(crate) fn get(&self, name: &str) -> Option<&Section> {
        self.0.get(name)
    }
}

/// Boots a guest and listens until it is off.
pub(crate) fn boot(kit: &Kit, root: &Root, domains: &Domains) -> Said {
    let mut command = Command::new(&kit.qemu);
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]).args(domains.words());
    command.arg("-kernel").arg(&kit.kernel).arg("-initrd").arg(root.pack(kit));
    command.args(["-append", "console=ttyS0 quiet panic=-1", "-nodefaults", "-no-reboot"]);
    command.args(["-display", "none", "-serial", "stdio"]);
    let mut qemu = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let (send, lines) = mpsc::channel();
    let console = BufReader::new(qemu.stdout.take().unwrap());
    // Ends when qemu does.
    std::thread::spawn(move || {
        console.split(b'\n').map_while(Result::ok).take_while(|line| send.send(line.clone()).is_ok()).count()
    });
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(LIMIT) {
        all.push(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    let _ = qemu.kill();
    let _ = qemu.wait();
    assert!(
        all.iter().any(|line| line == "== done"),
        "the guest did not get to its end:\n{}",
        all.join("\n")
    );
    let times = all.iter().filter(|line| line.starts_with("at "));
    eprintln!("guest: {}", times.map(String::as_str).collect::<Vec<_>>().join(", "));
    sections(&all)
}

fn sections(lines: &[String]) -> Said {
    let (mut said, mut at) = (BTreeMap::<String, Section>::new(), None);
    for line in lines {
        match (line.strip_prefix("== "), &at) {
            (Some(rest), Some(name)) if rest.starts_with("end ") => {
                let section = said.entry(String::clone(name)).or_default();
                section.code = rest["end ".len()..].parse().ok();
                at = None;
            }
            (Some(name), _) => {
                said.insert(name.to_owned(), Section::default());
                at = Some(name.to_owned());
            }
            (None, Some(name)) => said.entry(name.clone()).or_default().lines.push(line.clone()),
            (None, None) => {}
        }
    }
    Said(said)
}
