//! `muster install`: the pool as a service of systemd.

use super::Which;
use super::client::{Failed, exit};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How it is installed.
#[derive(clap::Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    which: Which,
    /// Print the unit, and write nothing
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(args: &InstallArgs) -> ExitCode {
    exit(install(args))
}

fn install(args: &InstallArgs) -> Result<(), Failed> {
    let failed = |what: String| Failed::new(what, muster_worker::command::BAD_INPUT);
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let root = rustix::process::geteuid().is_root();
    let unit = unit(&program, &args.which.dir(), root);
    if args.print {
        print!("{unit}");
        return Ok(());
    }
    let folder = folder(root).ok_or_else(|| failed("HOME is not set: --print shows the unit".into()))?;
    let path = folder.join("muster.service");
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, unit));
    written.map_err(|error| failed(format!("{}: {error} (--print shows the unit)", path.display())))?;
    let whose = if root { "" } else { " --user" };
    println!("{}", path.display());
    println!("next: systemctl{whose} daemon-reload && systemctl{whose} enable --now muster");
    if !root {
        println!("      loginctl enable-linger, so that the pool is up while you are not logged in");
    }
    Ok(())
}

/// Where units of the system, or of this user, are.
fn folder(root: bool) -> Option<PathBuf> {
    if root {
        return Some("/etc/systemd/system".into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("systemd/user"))
}

/// A unit that ends the pool alone when it is stopped: what runs goes on, held by its shepherds.
fn unit(program: &Path, state: &Path, root: bool) -> String {
    let wanted = if root { "multi-user.target" } else { "default.target" };
    // Of systemd's specifiers and variables, nothing is meant.
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
        format!("\"{text}\"")
    };
    let lines = [
        "[Unit]".to_owned(),
        "Description=Muster pool".to_owned(),
        "After=network.target".to_owned(),
        String::new(),
        "[Service]".to_owned(),
        format!("ExecStart={} up --state {}", quoted(program), quoted(state)),
        "Restart=always".to_owned(),
        "KillMode=process".to_owned(),
        "Delegate=yes".to_owned(),
        String::new(),
        "[Install]".to_owned(),
        format!("WantedBy={wanted}"),
    ];
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_systemd() {
        let unit = unit(Path::new("/opt/a b/muster"), Path::new("/var/100%/$x"), true);
        assert!(unit.contains("ExecStart=\"/opt/a b/muster\" up --state \"/var/100%%/$$x\"\n"), "{unit}");
        assert!(unit.ends_with("WantedBy=multi-user.target\n"));
    }
}
