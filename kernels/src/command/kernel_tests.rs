//! Tests of the kernel: what runs are told, every kind of merge against a naive reference, and every kind of failure.

use super::*;
use crate::forest::Forest;
use crate::simd::Simd;
use muster_spec::Node;
use muster_spec::command::Timeout;
use muster_spec::quantity::Count;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn spec(count: u64, block: u64, words: &[&str]) -> CommandSpec {
    CommandSpec {
        count: Count(count),
        block: Some(Count(block)),
        merge: Merge::Concat,
        merge_with: None,
        files: None,
        out: None,
        timeout: None,
        retries: 0,
        limit: Bytes(1 << 20),
        inputs: Vec::new(),
        seed: 1,
        chdir: None,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn sh(count: u64, block: u64, script: &str) -> CommandSpec {
    spec(count, block, &["sh", "-c", script])
}

/// The answer, with blocks that finish in an odd order.
fn answer(spec: CommandSpec) -> Result<CommandAnswer, Problems> {
    let kernel = CommandKernel::prepare(&CommandKernel::resolve(spec)?)?;
    let mut forest = Forest::new(kernel.grid(), kernel.order());
    let mut blocks: Vec<u32> = (0..kernel.grid().blocks()).collect();
    blocks.sort_by_key(|b| b.wrapping_mul(2_654_435_761).rotate_left(9));
    for block in blocks {
        let partial = kernel.fold(block, &mut Fold::new(Simd::all()[0], 1 << 20))?;
        assert!(forest.insert_by(&[Node::leaf(block)], partial, &mut |l, r| kernel.merge(l, r))?);
    }
    kernel.finish(forest.into_root().ok().unwrap())
}

fn text(spec: CommandSpec) -> String {
    answer(spec).unwrap().to_string()
}

fn refusal(spec: CommandSpec) -> String {
    answer(spec).unwrap_err().to_string()
}

#[test]
fn a_run_is_told_of_its_share() {
    let told = "echo $MUSTER_BLOCK $MUSTER_BLOCKS $MUSTER_START $MUSTER_END $MUSTER_COUNT $MUSTER_THREADS $OMP_NUM_THREADS";
    assert_eq!(text(sh(10, 4, told)), "0 3 0 4 10 1 1\n1 3 4 8 10 1 1\n2 3 8 10 10 1 1\n");
    let words = spec(10, 5, &["echo", "-n", "{block}/{blocks}:{start}-{end}", "{x}", "{seed};"]);
    let seeds = text(sh(10, 5, "echo -n $MUSTER_SEED,")).split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(text(words), format!("0/2:0-5 {{x}} {};1/2:5-10 {{x}} {};", seeds[0], seeds[1]));
    assert_ne!(seeds[0], seeds[1]);
    assert_eq!(
        text(sh(3, 1, "cat; printf %s \"$MUSTER_FOREMAN$OMPI_COMM_WORLD_RANK\"")),
        "",
        "nothing to read"
    );
}

#[test]
fn outputs_are_joined_in_the_order_of_the_blocks() {
    let wanted: String = (0..100).map(|i| format!("{i}\n")).collect();
    for block in [1, 7, 50, 100] {
        assert_eq!(text(sh(100, block, "seq $MUSTER_START $((MUSTER_END - 1))")), wanted, "{block}");
    }
}

#[test]
fn numbers_are_summed() {
    let squares = "awk -v a={start} -v b={end} 'BEGIN { for (i = a; i < b; i++) s += i * i; print \"n\", b - a; printf \"%.2f\\n\", s / 4 }'";
    let job = CommandSpec { merge: Merge::Sum, ..sh(1000, 9, squares) };
    let naive: u64 = (0..1000).map(|i| i * i).sum();
    assert_eq!(text(job), format!("n 1000\n{}.{:02}\n", naive / 4, naive % 4 * 25));
}

#[test]
fn two_partials_are_merged_by_a_command() {
    let digits = "for i in $(seq $MUSTER_START $((MUSTER_END - 1))); do echo $((i * 37 % 101)); done";
    let mut sorted: Vec<u32> = (0..60).map(|i| i * 37 % 101).collect();
    sorted.sort_unstable();
    let wanted: String = sorted.iter().take(5).map(|n| format!("{n}\n")).collect();
    for command in ["sort -n \"$1\" \"$2\" | head -n 5", "sort -n | head -n 5"] {
        let job = CommandSpec { merge_with: Some(command.into()), ..sh(60, 7, digits) };
        // Left comes before right, whatever finished first.
        let order =
            CommandSpec { merge_with: Some("cat \"$1\" \"$2\"".into()), ..sh(9, 1, "echo $MUSTER_BLOCK") };
        assert_eq!((text(job), text(order)), (wanted.clone(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n".into()));
    }
}

#[test]
fn files_are_merged_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let script = "cd $MUSTER_OUT; echo $MUSTER_BLOCK >all.csv; echo x >x.log; mkdir d; echo 1 >d/$((MUSTER_BLOCK % 2)).csv";
    let job = |merge, out: &Path| CommandSpec {
        files: Some("**/*.csv".into()),
        out: Some(InputPath(out.to_owned())),
        merge,
        ..sh(5, 1, script)
    };
    let told = text(job(Merge::Concat, &out));
    assert!(told.contains("3 files of 5 runs") && told.contains("d/0.csv"), "{told}");
    assert_eq!(std::fs::read_to_string(out.join("all.csv")).unwrap(), "0\n1\n2\n3\n4\n");
    assert_eq!(std::fs::read_to_string(out.join("d/0.csv")).unwrap(), "1\n1\n1\n");
    assert!(!out.join("x.log").exists());
    assert!(refusal(job(Merge::Concat, &out)).contains("is there, and is not an empty folder"));
    let sums = scratch.path().join("sums");
    let _ = text(job(Merge::Sum, &sums));
    assert_eq!(std::fs::read_to_string(sums.join("all.csv")).unwrap(), "10\n");
    assert_eq!(std::fs::read_to_string(sums.join("d/1.csv")).unwrap(), "2\n");
}

#[test]
fn bytes_go_to_a_file_as_they_are_and_have_the_same_hash_anywhere() {
    let scratch = tempfile::tempdir().unwrap();
    let out = Some(InputPath(scratch.path().join("bytes")));
    let binary = |out| CommandSpec { out, ..sh(3, 1, "printf '\\0\\377%s' $MUSTER_BLOCK") };
    assert!(refusal(binary(None)).contains("byte 1 of the output is not UTF-8 text"));
    assert!(text(binary(out.clone())).contains("9 bytes of 3 runs in"));
    assert_eq!(std::fs::read(scratch.path().join("bytes")).unwrap(), b"\0\xff0\0\xff1\0\xff2");
    let hash = |out| {
        let answer = answer(CommandSpec { out, ..sh(3, 1, "echo $MUSTER_BLOCK") }).unwrap();
        (crate::hash::answer("command", Class::Exact, &answer), serde_json::to_value(&answer).unwrap())
    };
    let ((printed, json), (written, there)) = (hash(None), hash(out));
    assert_eq!(printed, written);
    assert_eq!(json["output"], "0\n1\n2\n");
    assert!(there["output"].is_null() && there["out"].as_str().unwrap().ends_with("bytes"));
}

#[test]
fn a_failing_run_is_named_and_can_be_tried_alone() {
    let script = "[ $MUSTER_BLOCK != 2 ] || { echo \"it's wrong\" >&2; exit 3; }";
    let said = refusal(sh(10, 2, script));
    assert!(said.starts_with("block 2 (indices 4 to 5): 'sh' ended with exit code 3"), "{said}");
    assert!(said.contains("\n    it's wrong\n"), "{said}");
    let line = said.split("by itself: ").nth(1).unwrap().trim_end_matches(')');
    let alone = Command::new("sh").args(["-c", line]).output().unwrap();
    assert_eq!((alone.status.code(), &alone.stderr[..]), (Some(3), &b"it's wrong\n"[..]), "{line}");
    assert!(refusal(sh(1, 1, "kill -9 $$")).contains("was killed by signal 9 (SIGKILL"));
    let hangs = CommandSpec { timeout: Some(Timeout(50)), ..sh(1, 1, "sleep 1000") };
    assert!(
        refusal(hangs)
            .contains("'sh' took longer than 0.05 s, and said nothing on standard error (--timeout")
    );
    let chatty = CommandSpec { limit: Bytes(1000), ..sh(1, 1, "yes") };
    assert!(refusal(chatty).contains("printed more than 1000 bytes on its standard output"));
    let scratch = tempfile::tempdir().unwrap();
    let large = CommandSpec {
        files: Some("*".into()),
        out: Some(InputPath(scratch.path().join("out"))),
        limit: Bytes(1000),
        ..sh(1, 1, "head -c 1001 /dev/zero >$MUSTER_OUT/x")
    };
    assert!(refusal(large).contains("wrote more than 1000 bytes into the files that match"));
}

#[test]
fn a_run_is_tried_again_in_a_fresh_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let tried = scratch.path().join("tried");
    let script = format!("echo x >>{0}; [ $(wc -l <{0}) -ge 3 ] && echo fine", tried.display());
    let job = |retries| CommandSpec { retries, ..sh(1, 1, &script) };
    let said = refusal(job(1));
    assert!(said.contains("2 tries failed; in the last, 'sh' ended with exit code 1"), "{said}");
    assert_eq!(text(job(1)), "fine\n");
}

#[test]
fn garbage_has_its_place() {
    let job = |script: &str| CommandSpec { merge: Merge::Sum, ..sh(4, 1, script) };
    let said = refusal(job("echo 1; [ $MUSTER_BLOCK != 3 ] || echo 2 nan"));
    assert!(
        said.contains("block 3") && said.contains("holds 'nan', which has no sum at line 2, column 3"),
        "{said}"
    );
    let said = refusal(job("echo hits 1; [ $MUSTER_BLOCK != 3 ] || echo Traceback"));
    assert!(said.contains("has other words between its numbers") && said.contains("'Traceback'"), "{said}");
    assert!(refusal(job("true")).contains("holds nothing at line 1"));
}

#[test]
fn a_failing_merge_keeps_its_partials() {
    let job = CommandSpec {
        merge_with: Some("grep -q 3 && { echo no >&2; exit 4; }; cat \"$1\" \"$2\"".into()),
        ..sh(4, 1, "echo $MUSTER_BLOCK")
    };
    let said = refusal(job);
    assert!(
        said.contains("on the standard output of blocks 2 and 3: ") && said.contains("exit code 4"),
        "{said}"
    );
    let line = said.split("by itself: ").nth(1).unwrap().trim_end_matches(')');
    assert_eq!(Command::new("sh").args(["-c", line]).status().unwrap().code(), Some(4), "{line}");
    let kept = line.rsplit('<').next().unwrap().trim().trim_end_matches("/both");
    std::fs::remove_dir_all(kept).unwrap();
}

#[test]
fn mistakes_are_named_before_any_work() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("my-script"), "echo").unwrap();
    let inside =
        |word: &str| CommandSpec { chdir: Some(InputPath(scratch.path().to_owned())), ..spec(1, 1, &[word]) };
    let here = std::env::current_dir().unwrap();
    for (job, wanted) in [
        (spec(1, 1, &["nosuch-program"]), "there is no program 'nosuch-program' in the "),
        (inside("my-script"), "/my-script is there: ./my-script names it"),
        (inside("./my-script"), "may not be executed (chmod +x ./my-script"),
        (inside("./nosuch"), "cannot find"),
        (inside("./"), "is a folder"),
        (
            CommandSpec { chdir: Some(InputPath("/nosuch".into())), ..sh(1, 1, "") },
            "--chdir: /nosuch is not a folder",
        ),
        (
            CommandSpec { inputs: vec![InputPath("/nosuch".into())], ..sh(1, 1, "") },
            "--input: cannot read /nosuch",
        ),
        (CommandSpec { files: Some("[".into()), ..sh(1, 1, "") }, "--files: is not a pattern"),
        (
            CommandSpec { out: Some(InputPath("/nosuch/x".into())), ..sh(1, 1, "") },
            "--out: cannot write /nosuch/x",
        ),
        (CommandSpec { out: Some(InputPath(here)), ..sh(1, 1, "") }, "is a folder, and a file was expected"),
    ] {
        let said = refusal(job);
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let both = CommandSpec { inputs: vec![InputPath("/nosuch".into())], ..spec(0, 1, &["sh"]) };
    assert_eq!(CommandKernel::resolve(both).unwrap_err().0.len(), 2, "all at once");
    let bad = std::fs::Permissions::from_mode(0o755);
    std::fs::write(scratch.path().join("bad"), "#!/nosuch/interpreter\n").unwrap();
    std::fs::set_permissions(scratch.path().join("bad"), bad).unwrap();
    assert!(refusal(inside("./bad")).contains("does its first line name an interpreter"));
}

#[test]
fn the_program_and_files_among_its_words_are_inputs() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["script", "data"] {
        std::fs::write(scratch.path().join(name), name).unwrap();
    }
    let job = CommandSpec {
        chdir: Some(InputPath(scratch.path().to_owned())),
        inputs: vec![InputPath(scratch.path().join("data"))],
        ..spec(1, 1, &["sh", "script", "nosuch", "script"])
    };
    let inputs = CommandKernel::prepare(&job).unwrap().inputs();
    let names: Vec<_> = inputs.iter().map(|i| i.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["sh", "script", "data"]);
    let other = CommandSpec { retries: 3, timeout: Some(Timeout(1)), limit: Bytes(5), ..job.clone() };
    assert_eq!(
        CommandKernel::identity(&other),
        CommandKernel::identity(&job),
        "what changes no bit names no job"
    );
    assert_ne!(
        CommandKernel::identity(&CommandSpec { seed: 2, ..job.clone() }),
        CommandKernel::identity(&job)
    );
}

fn sums(rows: &[(i64, i16)], block: u32) -> CommandPartial {
    let text: String = rows.iter().map(|(n, e)| format!("{n}e{e}\n")).collect();
    let part = Part::Sums(Sums::read(text.as_bytes()).unwrap());
    CommandPartial { blocks: (block, block), parts: [(String::new(), part)].into() }
}

fn bytes(names: &[(String, Vec<u8>)], block: u32) -> CommandPartial {
    let parts = names.iter().map(|(name, bytes)| (name.clone(), Part::Bytes(Blob(bytes.clone()))));
    CommandPartial { blocks: (block, block), parts: parts.collect() }
}

proptest! {
    #[test]
    fn sums_merge_in_any_order(rows in prop::collection::vec(prop::collection::vec((any::<i64>(), -20i16..20), 3), 3)) {
        let kernel = CommandKernel::prepare(&CommandSpec { merge: Merge::Sum, ..sh(3, 1, "") }).unwrap();
        prop_assert_eq!(kernel.order(), Order::Free);
        let part = |i: usize| sums(&rows[i], i as u32);
        let merge = |a, b| kernel.merge(a, b).unwrap();
        let straight = merge(merge(part(0), part(1)), part(2));
        prop_assert_eq!(&merge(part(0), merge(part(1), part(2))), &straight);
        prop_assert_eq!(&merge(merge(part(2), part(0)), part(1)), &straight);
        let encoded = postcard::to_stdvec(&straight).unwrap();
        prop_assert_eq!(postcard::from_bytes::<CommandPartial>(&encoded).unwrap(), straight);
    }

    #[test]
    fn concatenation_is_associative_and_keeps_every_byte(
        parts in prop::collection::vec(prop::collection::btree_map("[a-c]", prop::collection::vec(any::<u8>(), 0..5), 0..3), 3),
    ) {
        let kernel = CommandKernel::prepare(&sh(3, 1, "")).unwrap();
        let part = |i: usize| bytes(&parts[i].clone().into_iter().collect::<Vec<_>>(), i as u32);
        let merge = |a, b| kernel.merge(a, b).unwrap();
        let straight = merge(merge(part(0), part(1)), part(2));
        prop_assert_eq!(&merge(part(0), merge(part(1), part(2))), &straight);
        for name in ["a", "b", "c"] {
            let naive: Vec<u8> = parts.iter().filter_map(|p| p.get(name)).flatten().copied().collect();
            let got = straight.parts.get(name).map(|part| part.clone().into_bytes()).unwrap_or_default();
            prop_assert_eq!(got, naive);
        }
    }
}
