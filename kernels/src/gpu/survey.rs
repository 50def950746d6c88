//! What of GPUs is on this host, and why one is not used: what `muster doctor` tells.

use super::cache;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Whether this program was built with GPU support.
    pub built: bool,
    /// The driver's library.
    pub driver: Library,
    /// The compiler.
    pub nvrtc: Library,
    /// The cards that the driver's library shows.
    pub cards: Vec<Card>,
    /// Cards that the kernel's driver knows by their places on the bus and the library does not show, by model.
    pub hidden: Vec<String>,
    /// Where compiled code is kept.
    pub cache: Option<PathBuf>,
    /// What does not fit together, one sentence each.
    pub remarks: Vec<String>,
}

/// A library that is loaded at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Library {
    /// Not found, or not to be loaded; why.
    Missing(String),
    /// Its version.
    Found(String),
    /// Nobody looked.
    #[default]
    Unknown,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Card {
    /// Its number among those that are shown.
    pub number: u32,
    /// Its model.
    pub name: String,
    /// Such as `sm_90`.
    pub arch: String,
    /// In bytes.
    pub memory_bytes: u64,
    /// How many multiprocessors it has.
    pub multiprocessors: u32,
    /// Why `--device gpu` does not use it; nothing where it does.
    pub not_used: Option<String>,
}

/// Looks at what is on this host. Loads libraries and opens no card.
pub fn survey() -> Survey {
    let mut survey = Survey { cache: cache::folder(), ..Survey::default() };
    #[cfg(feature = "gpu")]
    super::cuda::look(&mut survey);
    let known = on_the_bus();
    if known.len() > survey.cards.len() {
        let shown: Vec<&str> = survey.cards.iter().map(|card| card.name.as_str()).collect();
        survey.hidden = match shown.is_empty() {
            true => known,
            false => vec![format!("{} more", known.len() - shown.len())],
        };
    }
    if let (false, Ok(visible)) = (survey.hidden.is_empty(), std::env::var("CUDA_VISIBLE_DEVICES")) {
        survey.remarks.push(format!("CUDA_VISIBLE_DEVICES is '{visible}' and hides what it does not name"));
    }
    if survey.cache.is_none() {
        survey.remarks.push("neither XDG_CACHE_HOME nor HOME is set: every start compiles anew".into());
    }
    survey
}

/// The models that NVIDIA's kernel module lists, in the order of the bus.
fn on_the_bus() -> Vec<String> {
    let listed = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    places.sort_unstable();
    let model = |place: &PathBuf| {
        let text = std::fs::read_to_string(place.join("information")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Model:")).map(str::trim);
        line.unwrap_or("a card of which the driver tells no model").to_owned()
    };
    places.iter().map(model).collect()
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Library::Missing(why) => write!(f, "missing: {why}"),
            Library::Found(version) => f.write_str(version),
            Library::Unknown => f.write_str("not looked for"),
        }
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.built {
            writeln!(f, "GPU support  not built in (feature `gpu`)")?;
        }
        writeln!(f, "CUDA driver  {}\nNVRTC        {}", self.driver, self.nvrtc)?;
        match &self.cache {
            Some(cache) => writeln!(f, "code cache   {}", cache.display())?,
            None => writeln!(f, "code cache   none")?,
        }
        for card in &self.cards {
            let memory = card.memory_bytes as f64 / (1u64 << 30) as f64;
            let used = card.not_used.as_ref().map_or("used".to_owned(), |why| format!("not used: {why}"));
            writeln!(
                f,
                "GPU {:<8} {}, {}, {memory:.1} GiB, {} multiprocessors: {used}",
                card.number, card.name, card.arch, card.multiprocessors
            )?;
        }
        for card in &self.hidden {
            writeln!(f, "GPU -        {card}: not used: the driver's library does not show it")?;
        }
        if self.cards.is_empty() && self.hidden.is_empty() {
            writeln!(f, "GPU          none: kernels run on CPUs")?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "note         {remark}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_says_why_a_card_is_not_used() {
        let card = |number, arch: &str, not_used: Option<&str>| Card {
            number,
            name: "NVIDIA Test".into(),
            arch: arch.into(),
            memory_bytes: 80 << 30,
            multiprocessors: 132,
            not_used: not_used.map(str::to_owned),
        };
        let survey = Survey {
            built: true,
            driver: Library::Found("13.0".into()),
            nvrtc: Library::Missing("no file".into()),
            cards: vec![card(0, "sm_90", None), card(1, "sm_75", Some("another architecture"))],
            hidden: vec!["NVIDIA Other".into()],
            cache: Some("/c".into()),
            remarks: vec!["a remark".into()],
        };
        let wanted = "\
CUDA driver  13.0
NVRTC        missing: no file
code cache   /c
GPU 0        NVIDIA Test, sm_90, 80.0 GiB, 132 multiprocessors: used
GPU 1        NVIDIA Test, sm_75, 80.0 GiB, 132 multiprocessors: not used: another architecture
GPU -        NVIDIA Other: not used: the driver's library does not show it
note         a remark
";
        assert_eq!(survey.to_string(), wanted);
        assert!(Survey::default().to_string().contains("none: kernels run on CPUs"));
    }
}
