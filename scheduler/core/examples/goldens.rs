//! Replays every row of a table of golden values over complete traces:
//! `cargo run --release -p muster-core --example goldens -- TABLE.csv TRACES`, with the traces unpacked in a folder.

use muster_core::policy::Policy;
use muster_core::trace::replay::{Mode, replay};
use muster_core::trace::report::Report;
use muster_core::trace::{Trace, TraceOptions, swf};

fn main() {
    let mut args = std::env::args().skip(1);
    let (table, folder) = (args.next().unwrap(), args.next().unwrap());
    let want = args.next().unwrap_or_default();
    for row in std::fs::read_to_string(table).unwrap().lines().skip(1) {
        let f: Vec<&str> = row.split(',').collect();
        if !row.contains(&want) {
            continue;
        }
        let bytes = std::fs::read(format!("{folder}/{}.swf", f[0])).unwrap();
        let t0 = std::time::Instant::now();
        let log = swf::read(&bytes);
        let t1 = t0.elapsed();
        let o: Vec<&str> = f[4].split(' ').collect();
        let options = TraceOptions {
            first: o.iter().position(|x| *x == "--first").map(|i| o[i + 1].parse().unwrap()),
            procs: None,
            perfect: o.contains(&"--perfect"),
        };
        let mode = if o.contains(&"--per-event") { Mode::PerEvent } else { Mode::Batch };
        let trace = Trace::new(&log, options).unwrap();
        let policy: Policy = f[3].parse().unwrap();
        let t2 = t0.elapsed();
        let s = replay(&trace, policy, mode);
        let t3 = t0.elapsed();
        let r = Report::new(&trace, &s);
        let t4 = t0.elapsed();
        let got = format!(
            "{},{},{},{},{},{:.4},{:.2},{},{},{:.2},{:.5},{},{},{}",
            f[0],
            r.jobs,
            r.procs,
            f[3],
            f[4],
            r.mean_bounded_slowdown,
            r.mean_wait_s,
            r.p95_wait_s,
            r.max_wait_s,
            r.mean_turnaround_s,
            r.utilisation,
            r.makespan_s,
            r.max_queue,
            r.schedule_hash
        );
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        println!(
            "{} {} {} {}  parse {:.1} trace {:.1} replay {:.1} report {:.1} ms",
            if r.schedule_hash == f[13] { "HASH-OK" } else { "HASH-BAD" },
            f[0],
            f[3],
            f[4],
            ms(t1),
            ms(t2 - t1),
            ms(t3 - t2),
            ms(t4 - t3)
        );
        if r.schedule_hash == f[13] {
            let g: Vec<&str> = got.split(',').collect();
            for i in 0..14 {
                if g[i] != f[i] {
                    println!("   col {i}: {} wanted {}", g[i], f[i]);
                }
            }
        }
    }
}
