//! The class `gpu-f32` through the software device: the same grid, threads and sums as on a card.

use crate::{answer, fold, prepared, spec};
use muster_kernels::monte_carlo::options::Estimated;
use muster_kernels::{Class, DeviceWord, Fold, Kernel, Simd, Target};

/// By how much a price in f32 may differ from that in f64 over the same draws, as a share of the spot.
const BOUND: f64 = 1e-5;

fn both(line: &str) -> (Estimated, Estimated) {
    let price = |line: &str| answer(line).options[0].price;
    (price(line), price(&format!("{line} --device software")))
}

#[test]
fn prices_agree_with_the_cpu_over_the_same_draws() {
    for line in [
        "--option asian --paths 20000 --steps 52",
        "--option asian --paths 5000 --steps 7 --right put --strike 104 --dividend 0.03 --seed 9",
        "--option asian --paths 3001 --steps 250 --volatility 0.9 --expiry 2",
        "--option european --paths 30000 --strike 90",
        "--option european --paths 2 --right put",
    ] {
        let (cpu, software) = both(line);
        let apart = (cpu.value - software.value).abs();
        assert!(apart <= BOUND * 100.0, "{line}: {cpu:?} {software:?}");
        assert!((cpu.standard_error - software.standard_error).abs() <= BOUND * 100.0, "{line}");
        assert!(apart > 0.0 || cpu.value == 0.0, "{line}: f32 rounds, so that the two are never equal");
    }
}

#[test]
fn other_draws_agree_within_their_errors() {
    let line = "--option asian --paths 40000 --steps 16";
    let (cpu, _) = both(line);
    let (_, software) = both(&format!("{line} --seed 77"));
    let error = cpu.standard_error.hypot(software.standard_error);
    assert!((cpu.value - software.value).abs() <= 4.0 * error + BOUND * 100.0);
}

#[test]
fn the_class_says_on_what_and_the_request_names_it() {
    let line = "--option asian --paths 100000 --steps 64";
    let (cpu, software) = (prepared(line), prepared(&format!("{line} --device software")));
    assert_eq!(cpu.class(), Class::PortableF64);
    assert_eq!(software.class(), Class::GpuF32(Target::Software));
    assert!(software.grid().blocks() > 4, "{}", software.grid().blocks());
    let json = serde_json::to_string(&spec(&format!("{line} --device software")).unwrap()).unwrap();
    assert!(json.contains(r#""device":"software""#), "{json}");
    for same in ["--device cpu", ""] {
        assert_eq!(spec(&format!("{line} {same}")).unwrap().device, None);
    }
    let elsewhere = prepared(&format!("{line} --device sm_999"));
    assert_eq!(
        elsewhere.class().to_string(),
        "gpu-f32@sm_999",
        "a request needs no card, only its blocks do"
    );
    let Err(problems) = elsewhere.fold(0, &mut Fold::new(Simd::choose(None).unwrap(), 1 << 20)) else {
        panic!("there is no such card");
    };
    assert!(problems.0[0].of_host && problems.to_string().contains("muster doctor"), "{problems}");
}

#[test]
fn every_vector_width_gives_the_same_bits() {
    let kernel = prepared("--option asian --paths 9000 --steps 30 --device software");
    let all = Simd::all();
    let reference = fold(&kernel, all[0]);
    for &simd in &all[1..] {
        assert_eq!(fold(&kernel, simd), reference, "{}", simd.name());
    }
}

#[test]
fn what_gpus_do_not_do_is_refused_or_done_by_the_cpu() {
    for (line, word) in [
        ("--option asian --greeks", "--greeks"),
        ("--option asian --antithetic", "--antithetic"),
        ("--option asian --control-variate", "--control-variate"),
        ("--option lookback", "lookback"),
        ("--option asian --steps 5000", "5000"),
    ] {
        let told = spec(&format!("{line} --device software")).unwrap_err().to_string();
        assert!(told.contains(word) && told.contains("--device"), "{told}");
        assert_eq!(spec(&format!("{line} --device auto")).unwrap().device, None, "{line}");
    }
    match spec("--option asian --device gpu") {
        Ok(spec) => assert!(matches!(spec.device, Some(DeviceWord::On(Target::Sm(_))))),
        Err(problems) => assert!(problems.to_string().contains("muster doctor"), "{problems}"),
    }
}
