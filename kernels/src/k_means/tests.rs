//! K-means against the plainest way, on every vector width, with blocks kept and read again.

use super::*;
use crate::kernel::Partial;
use muster_spec::quantity::InputPath;
use muster_spec::table::TableSpec;
use proptest::prelude::*;
use std::path::Path;

const ALL: usize = usize::MAX;

fn spec(path: Option<&Path>, clusters: u32) -> KMeansSpec {
    let files = path.into_iter().map(|path| InputPath(path.to_owned())).collect();
    KMeansSpec {
        table: TableSpec { files, delimiter: ',', ..TableSpec::default() },
        columns: Vec::new(),
        clusters: Some(clusters),
        rounds: 100,
        tolerance: 0.0,
        scale: false,
        filter: None,
        start: None,
        centroids: Vec::new(),
        generate: None,
        seed: 1,
    }
}

fn mixture(text: &str, clusters: u32) -> KMeansSpec {
    KMeansSpec { generate: Some(text.parse().unwrap()), ..spec(None, clusters) }
}

fn csv(rows: &[Vec<Option<f64>>]) -> tempfile::NamedTempFile {
    let columns = rows.first().map_or(1, Vec::len);
    let mut text = (0..columns).map(|j| format!("c{j}")).collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let fields = row.iter().map(|x| x.map_or("NA".into(), |x| format!("{x:?}")));
        text += &(fields.collect::<Vec<_>>().join(",") + "\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// Folds all blocks of all rounds and shows `each` state with what its blocks yield; the answer.
fn rounds(
    kernel: &KMeans,
    simd: Simd,
    keep: usize,
    each: &mut dyn FnMut(&KMeansState, &KMeansPartial),
) -> Result<KMeansAnswer, Problems> {
    let mut state = kernel.start()?;
    loop {
        let mut all = None;
        for block in 0..kernel.grid().blocks() {
            let partial = kernel.fold(&state, block, &mut Fold::new(simd, 1 << 20).keeping(keep))?;
            // As it comes back from the ledger or another rank.
            let bytes = postcard::to_stdvec(&partial).unwrap();
            let back: KMeansPartial = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(back, partial);
            all = Some(match all {
                None => back,
                Some(before) => Partial::merge(before, back),
            });
        }
        let all = all.unwrap();
        each(&state, &all);
        match kernel.finish(&state, all)? {
            Turn::Answer(answer) => return Ok(answer),
            Turn::Next(next) => state = next,
        }
    }
}

fn compute(spec: KMeansSpec) -> Result<KMeansAnswer, Problems> {
    let kernel = KMeans::prepare(&KMeans::resolve(spec)?)?;
    rounds(&kernel, Simd::all()[0], ALL, &mut |_, _| {})
}

/// The same answer, whatever the vectors and whatever is kept.
fn compute_all_ways(spec: KMeansSpec) -> Result<KMeansAnswer, Problems> {
    let spec = KMeans::resolve(spec)?;
    let want = rounds(&KMeans::prepare(&spec)?, Simd::all()[0], ALL, &mut |_, _| {})?;
    for (simd, keep) in Simd::all().into_iter().flat_map(|simd| [(simd, 0), (simd, 500_000), (simd, ALL)]) {
        let answer = rounds(&KMeans::prepare(&spec)?, simd, keep, &mut |_, _| {})?;
        assert_eq!(answer, want, "{} with {keep} bytes", simd.name());
    }
    Ok(want)
}

/// All rows of a kernel, in its frame.
fn rows_of(kernel: &KMeans, frame: &Frame) -> Vec<Vec<f64>> {
    let mut out = Vec::new();
    for block in 0..kernel.grid().blocks() {
        let mut cx = Fold::new(Simd::all()[0], 1 << 20);
        let mut each = |tile: &mut tile::Tile| {
            out.extend((0..tile.rows).map(|row| frame.inside(&tile.row(row).collect::<Vec<_>>()).collect()));
            Ok(())
        };
        kernel.rows.scan(block, &mut cx, &mut each).unwrap();
    }
    out
}

/// The plainest way to the nearest centroid.
fn nearest(row: &[f64], centroids: &[f64]) -> usize {
    let score = |c: &[f64]| {
        let start = -0.5 * c.iter().map(|c| c * c).sum::<f64>();
        row.iter().zip(c).fold(start, |sum, (x, c)| x.mul_add(*c, sum))
    };
    let scores: Vec<f64> = centroids.chunks_exact(row.len()).map(score).collect();
    (0..scores.len()).fold(0, |best, k| if scores[k] > scores[best] { k } else { best })
}

/// Checks every round against one that looks at every row.
fn check_each_round(spec: KMeansSpec) -> KMeansAnswer {
    let kernel = KMeans::prepare(&KMeans::resolve(spec).unwrap()).unwrap();
    rounds(&kernel, Simd::all()[0], ALL, &mut |state, partial| {
        let standing = match state {
            KMeansState::Survey => return,
            KMeansState::Lloyd(standing) | KMeansState::Measure(standing, _) => standing,
        };
        let rows = rows_of(&kernel, &standing.frame);
        let columns = standing.frame.offset.len();
        let clusters = standing.centroids.len() / columns;
        let (mut counts, mut inertia) = (vec![0u64; clusters], vec![0.0; clusters]);
        let mut sums = vec![0.0; standing.centroids.len()];
        for row in &rows {
            let k = nearest(row, &standing.centroids);
            counts[k] += 1;
            inertia[k] += step::square_distance(row, &standing.centroids[k * columns..][..columns]);
            (0..columns).for_each(|j| sums[k * columns + j] += row[j]);
        }
        match partial {
            KMeansPartial::Sums(found) => {
                assert_eq!(found.counts, counts);
                let quanta = step::quanta(&standing.frame);
                for (i, (&found, &sum)) in found.sums.iter().zip(&sums).enumerate() {
                    let bound = 1e-14 * rows.len() as f64 * standing.frame.reach[i % columns];
                    assert!((found as f64 / quanta[i % columns] - sum).abs() <= bound, "{found} {sum}");
                }
            }
            KMeansPartial::Spread(found) => {
                assert_eq!(found.counts, counts);
                for (found, want) in found.inertia.iter().zip(&inertia) {
                    assert!((found - want).abs() <= 1e-12 * want, "{found} {want}");
                }
            }
            KMeansPartial::Survey(_) => unreachable!("this is a later round"),
        }
    })
    .unwrap()
}

#[test]
fn each_round_is_that_of_a_look_at_every_row() {
    for (rows, clusters) in [
        ("mixture:40000x5x7", 9),
        ("mixture:9000x1x3", 4),
        ("mixture:5000x17x3", 1),
        ("mixture:20000x3x2", 33),
    ] {
        let answer = check_each_round(mixture(rows, clusters));
        assert!(answer.rounds > 1 && answer.clusters.len() == clusters as usize);
    }
}

#[test]
fn one_answer_whatever_the_vectors_and_whatever_is_kept() {
    for spec in [
        mixture("mixture:50000x6x5", 7),
        KMeansSpec { tolerance: 1e-3, scale: true, seed: 3, ..mixture("mixture:30001x2x9", 40) },
        KMeansSpec { rounds: 2, ..mixture("mixture:17x3x2", 5) },
    ] {
        compute_all_ways(spec).unwrap();
    }
}

/// Lloyd's algorithm as it stands in a textbook.
fn textbook(rows: &[Vec<f64>], mut centroids: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<u64>, f64) {
    loop {
        let near = |row: &Vec<f64>| {
            let distances: Vec<f64> = centroids.iter().map(|c| step::square_distance(row, c)).collect();
            (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap()
        };
        let labels: Vec<usize> = rows.iter().map(near).collect();
        let mut sums = vec![(0u64, vec![0.0; rows[0].len()]); centroids.len()];
        for (row, &label) in rows.iter().zip(&labels) {
            sums[label].0 += 1;
            sums[label].1.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let next: Vec<Vec<f64>> =
            sums.iter().map(|(n, sum)| sum.iter().map(|s| s / *n as f64).collect()).collect();
        if next == centroids {
            let inertia = rows.iter().zip(&labels).map(|(row, &k)| step::square_distance(row, &centroids[k]));
            return (centroids.clone(), sums.iter().map(|(n, _)| *n).collect(), inertia.sum());
        }
        centroids = next;
    }
}

#[test]
fn a_given_start_leads_where_the_textbook_says() {
    let wave = |i: usize, j: usize| ((i * (j + 3)) as f64 * 0.618_033_988_75).fract();
    let rows: Vec<Vec<f64>> = (0..3000)
        .map(|i| {
            vec![1e6 + 3.0 * (i % 3) as f64 + wave(i, 0), -2.0 * (i % 2) as f64 + wave(i, 1), wave(i, 2)]
        })
        .collect();
    let (data, start) = (csv(&some(&rows)), csv(&some(&rows[..6])));
    let with_start = KMeansSpec {
        clusters: None,
        start: Some(InputPath(start.path().to_owned())),
        ..spec(Some(data.path()), 1)
    };
    let answer = compute_all_ways(with_start).unwrap();
    let (centroids, sizes, inertia) = textbook(&rows, rows[..6].to_vec());
    assert_eq!(answer.clusters.iter().map(|c| c.size).collect::<Vec<_>>(), sizes);
    assert!((answer.inertia / inertia - 1.0).abs() < 1e-9, "{} {inertia}", answer.inertia);
    for (ours, theirs) in answer.clusters.iter().zip(&centroids) {
        let close = ours.centroid.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-8);
        assert!(close, "{:?} {theirs:?}", ours.centroid);
    }
    assert!(answer.converged && answer.to_string().contains("then they stood still"), "{answer}");
}

fn some(rows: &[Vec<f64>]) -> Vec<Vec<Option<f64>>> {
    rows.iter().map(|row| row.iter().copied().map(Some).collect()).collect()
}

#[test]
fn scaling_is_division_by_the_standard_deviation() {
    let rows: Vec<Vec<f64>> = (0..500)
        .map(|i| vec![f64::from(i % 5) * 1000.0, f64::from(i % 3), 7.0, f64::from(i * 37 % 101) * 1e-6])
        .collect();
    let deviation = |j: usize| {
        let mean = rows.iter().map(|row| row[j]).sum::<f64>() / 500.0;
        (rows.iter().map(|row| (row[j] - mean) * (row[j] - mean)).sum::<f64>() / 500.0).sqrt()
    };
    let scales: Vec<f64> = (0..4).map(|j| if j == 2 { 1.0 } else { deviation(j) }).collect();
    let scaled: Vec<Vec<f64>> =
        rows.iter().map(|row| row.iter().zip(&scales).map(|(x, s)| x / s).collect()).collect();
    let (plain, divided) = (csv(&some(&rows)), csv(&some(&scaled)));
    let ours = compute(KMeansSpec { scale: true, ..spec(Some(plain.path()), 6) }).unwrap();
    let theirs = compute(spec(Some(divided.path()), 6)).unwrap();
    assert!((ours.inertia / theirs.inertia - 1.0).abs() < 1e-9, "{} {}", ours.inertia, theirs.inertia);
    for (ours, theirs) in ours.clusters.iter().zip(&theirs.clusters) {
        assert_eq!(ours.size, theirs.size);
        assert!((ours.centroid[0] / scales[0] - theirs.centroid[0]).abs() < 1e-9);
        assert_eq!(ours.centroid[2], 7.0, "a constant column stays as it is");
    }
}

#[test]
fn duplicates_leave_clusters_empty_and_ties_go_to_the_first() {
    let data = csv(&some(&vec![vec![2.5, -1.0]; 100]));
    let answer = compute_all_ways(spec(Some(data.path()), 3)).unwrap();
    assert_eq!(answer.clusters.iter().map(|c| c.size).collect::<Vec<_>>(), [100, 0, 0]);
    assert_eq!((answer.inertia, answer.rounds, answer.converged), (0.0, 1, true));
    assert!(answer.clusters.iter().all(|c| c.centroid == [2.5, -1.0]));
    assert!(answer.to_string().contains("2 clusters are empty"), "{answer}");
    // A row between two centroids is the first one's; a centroid far from all rows stays where it is.
    let (rows, start) =
        (csv(&some(&[vec![-1.0], vec![0.0], vec![1.0]])), csv(&some(&[vec![1.0], vec![-1.0], vec![50.0]])));
    let given = Some(InputPath(start.path().to_owned()));
    let answer = compute(KMeansSpec { start: given, rounds: 1, ..spec(Some(rows.path()), 3) }).unwrap();
    let found: Vec<(u64, f64)> = answer.clusters.iter().map(|c| (c.size, c.centroid[0])).collect();
    assert_eq!(found, [(2, 0.5), (1, -1.0), (0, 50.0)]);
    assert!(!answer.converged);
}

#[test]
fn rows_that_lack_a_value_are_left_out_and_counted() {
    let mut rows = some(&(0..40).map(|i| vec![f64::from(i), f64::from(i % 7)]).collect::<Vec<_>>());
    rows[3][1] = None;
    rows[9] = vec![None, None];
    rows[20][0] = None;
    let data = csv(&rows);
    let table = TableSpec { missing: vec!["NA".into()], ..spec(Some(data.path()), 1).table };
    let with = |filter: Option<&str>| {
        compute(KMeansSpec { table: table.clone(), filter: filter.map(str::to_owned), ..spec(None, 2) })
            .unwrap()
    };
    let all = with(None);
    assert_eq!((all.rows, all.missing), (37, 3));
    let part = with(Some("c0 >= 2 and c0 < 12"));
    assert_eq!((part.rows, part.missing), (8, 1), "rows that the filter leaves out are not counted");
    assert_eq!(part.clusters.iter().map(|c| c.size).sum::<u64>(), 8);
    assert!(all.to_string().contains("left out: 3 rows in which a value is missing"), "{all}");
}

#[test]
fn mistakes_are_named_before_any_work() {
    let data = csv(&some(&[vec![1.0, 2.0], vec![3.0, 5.0]]));
    let start = csv(&some(&[vec![1.0]]));
    let huge = csv(&some(&[vec![1.0, 2.0], vec![3.0, -1e200]]));
    let base = || spec(Some(data.path()), 2);
    let path = |file: &tempfile::NamedTempFile| Some(InputPath(file.path().to_owned()));
    let columns = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    for (spec, wanted) in [
        (KMeansSpec { clusters: None, ..base() }, "--clusters: is missing (such as --clusters 8"),
        (KMeansSpec { clusters: Some(0), ..base() }, "--clusters: is 0, but must be from 1 to 65536"),
        (KMeansSpec { clusters: Some(3), ..base() }, "--clusters: is 3, but only 2 rows take part"),
        (KMeansSpec { rounds: 0, tolerance: -1.0, ..base() }, "--tolerance: is -1, but must be 0 or more"),
        (KMeansSpec { tolerance: f64::NAN, ..base() }, "--tolerance: is NaN"),
        (
            KMeansSpec { columns: columns(&["c0", "C2"]), ..base() },
            "--columns: there is no column 'C2' (the nearest is 'c0')",
        ),
        (KMeansSpec { columns: columns(&["c0", "c0"]), ..base() }, "--columns: names 'c0' twice"),
        (KMeansSpec { filter: Some("c0 >".into()), ..base() }, "--where"),
        (
            KMeansSpec { start: path(&start), columns: columns(&["c0", "c1"]), ..base() },
            "--start: there is no column 'c1'",
        ),
        (KMeansSpec { start: path(&start), ..base() }, "--clusters: is 2, and --start "),
        (spec(Some(huge.path()), 1), "--columns: 'c1' reaches 1e200, and squares need at most 1e150"),
        (spec(None, 2), "FILE: is missing, and so is --generate"),
        (mixture("mixture:0x1x1", 1), "--generate: must have from 1 to 2^40 rows"),
        (KMeansSpec { columns: columns(&["a"]), ..mixture("mixture:9x1x1", 1) }, "are for files"),
        (mixture("mixture:1e6x4096x9", 60_000), "--clusters: times columns is"),
    ] {
        let error = compute(spec).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let two = compute(KMeansSpec { rounds: 0, tolerance: -1.0, ..base() }).unwrap_err();
    assert_eq!(two.0.len(), 2, "all problems at once: {two}");
}

fn any_rows() -> impl Strategy<Value = Vec<Vec<Option<f64>>>> {
    let value = prop_oneof![
        4 => (-3i32..3).prop_map(f64::from),
        4 => -10.0..10.0f64,
        1 => Just(1e9),
        1 => Just(1e-9),
    ];
    (1usize..5).prop_flat_map(move |columns| {
        let row = prop::collection::vec(prop::option::weighted(0.97, value.clone()), columns);
        prop::collection::vec(row, 20..120)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_rows_are_clustered_as_by_a_look_at_each(rows in any_rows(), clusters in 1u32..12, seed in 0u64..9, scale: bool) {
        let mut rows = rows;
        // Types are settled at the start.
        rows[0].fill(Some(0.5));
        let whole = rows.iter().filter(|row| row.iter().all(Option::is_some)).count();
        prop_assume!(whole >= clusters as usize);
        let data = csv(&rows);
        let table = TableSpec { missing: vec!["NA".into()], ..spec(Some(data.path()), 1).table };
        let spec = KMeansSpec { table, seed, scale, ..spec(None, clusters) };
        let answer = check_each_round(spec.clone());
        prop_assert_eq!(&answer, &compute_all_ways(spec).unwrap());
        prop_assert_eq!(answer.rows, whole as u64);
        prop_assert_eq!(answer.clusters.iter().map(|c| c.size).sum::<u64>(), whole as u64);
    }

    #[test]
    fn sums_of_any_size_keep_every_digit(all in prop::collection::vec(any::<[i128; 3]>(), 1..8), cut in 0usize..8) {
        let part = |sums: &[[i128; 3]]| {
            let each = |&[a, b, c]: &[i128; 3]| ClusterSums { counts: vec![1], sums: vec![a >> 8, b >> 8, c >> 80] };
            let sums = sums.iter().map(each).map(KMeansPartial::Sums);
            sums.fold(KMeansPartial::Sums(ClusterSums { counts: vec![0], sums: vec![0; 3] }), Partial::merge)
        };
        let cut = cut.min(all.len());
        let merged = part(&all[..cut]).merge(part(&all[cut..]));
        prop_assert_eq!(&merged, &part(&all));
        let json = serde_json::to_value(&merged).unwrap();
        prop_assert_eq!(&serde_json::from_value::<KMeansPartial>(json).unwrap(), &merged);
    }
}
