//! Medians of interleaved pairs, with their spread.

/// Measurements of one thing, sorted.
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Measures `n` times, after one run that does not count.
    pub(crate) fn of(n: usize, mut one: impl FnMut() -> Result<f64, String>) -> Result<Series, String> {
        one()?;
        Ok(Series::sorted((0..n).map(|_| one()).collect::<Result<_, _>>()?))
    }

    fn sorted(mut all: Vec<f64>) -> Series {
        all.sort_by(f64::total_cmp);
        Series(all)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

/// Measures two things in turn, A B A B ..., after one run of each that does not count: both, and their ratio pair by
/// pair.
pub(crate) fn pairs(
    n: usize,
    mut a: impl FnMut() -> Result<f64, String>,
    mut b: impl FnMut() -> Result<f64, String>,
) -> Result<(Series, Series, Series), String> {
    a()?;
    b()?;
    let (mut first, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..n {
        first.push(a()?);
        second.push(b()?);
        ratios.push(first[first.len() - 1] / second[second.len() - 1]);
    }
    Ok((Series::sorted(first), Series::sorted(second), Series::sorted(ratios)))
}

/// Prints a line: name, median, spread, unit.
pub(crate) fn say(name: &str, unit: &str, series: &Series) {
    let (low, high) = (series.0[0], series.0[series.0.len() - 1]);
    let digits = if series.median() < 10.0 { 3 } else { 1 };
    println!(
        "  {name:<28} {:>9.digits$} {unit:<16} ({low:.digits$} to {high:.digits$}, n = {})",
        series.median(),
        series.0.len()
    );
}

/// The machine in a line.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown CPU", |m| m.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let level = muster_kernels::Simd::choose(None).map_or("no FMA", |s| s.name());
    format!("{model}, {cores} cores, {level}, load {load} before the start")
}
