//! How near does docferry come to the bare loop?
//!
//! Theory: the speed of a machine changes from minute to minute, so two programs are only comparable when they take turns. Every
//! round runs both on the same file; the medians over the rounds are compared. Each run is a process of its own, started by
//! a small process that starts nothing else (`measured`): the CPU time and peak memory of "all children" are then
//! those of the one run. What is compared is documents per second of CPU time, all threads and the kernel's work for them included,
//! because that is what a document costs; wall time says how well the cores were used.
//!
//! Before any figure is printed the two outputs must be the same bytes.
//!
//! ```text
//! cargo bench --bench slicing -- [--input FILE] [--documents N] [--rounds N] [--docferry PATH] [--bare-only]
//! ```

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]

mod bare_loop;
mod measure;

use measure::{Run, measured, measured_child, median};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Half a gigabyte: long enough (0.5 s of the bare loop) that starting a process does not show, and still in the page cache.
const DOCUMENTS: u64 = 1_000_000;

/// The fewest rounds whose median survives two disturbed ones.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", input, output] => {
            let counts = bare_loop::run(Path::new(input), Path::new(output))?;
            let bare_loop::Counts { read, dropped, rejected, written } = counts;
            println!(r#"{{"read":{read},"dropped":{dropped},"rejected":{rejected},"written":{written}}}"#);
            Ok(())
        }
        ["measured", program, rest @ ..] => measured_child(program, rest),
        // `cargo test --benches` starts every benchmark without this word, to see whether it builds.
        words if words.contains(&"--bench") => Plan::from_arguments(words)?.compare(),
        _ => {
            println!("start with `cargo bench --bench slicing`");
            Ok(())
        }
    }
}

/// What is to be run, and where.
struct Plan {
    input: PathBuf,
    rounds: usize,
    docferry: Option<PathBuf>,
    scratch: PathBuf,
}

impl Plan {
    fn from_arguments(words: &[&str]) -> Result<Plan> {
        let mut plan = Plan {
            input: PathBuf::new(),
            rounds: ROUNDS,
            docferry: Some(PathBuf::from(env!("CARGO_BIN_EXE_docferry"))),
            scratch: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("slicing"),
        };
        let mut documents = DOCUMENTS;
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--bench" => {}
                "--bare-only" => plan.docferry = None,
                "--input" => plan.input = PathBuf::from(value()?),
                "--docferry" => plan.docferry = Some(PathBuf::from(value()?)),
                "--documents" => documents = value()?.parse()?,
                "--rounds" => plan.rounds = value()?.parse::<usize>()?.max(1),
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        std::fs::create_dir_all(&plan.scratch)?;
        if plan.input.as_os_str().is_empty() {
            plan.input = make_input(&plan.scratch, documents)?;
        }
        Ok(plan)
    }

    fn compare(&self) -> Result<()> {
        let documents = count_lines(&self.input)?;
        println!("{documents} documents, {} rounds of each, medians", self.rounds);
        let outputs = (self.scratch.join("bare.jsonl"), self.scratch.join("docferry.jsonl"));
        let (mut bare, mut docferry) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            bare.push(measured(&mut self.bare_loop(&outputs.0)?)?);
            let Some(program) = &self.docferry else { continue };
            docferry.push(measured(&mut self.docferry(program, &outputs.1))?);
            if round == 0 && !same_bytes(&outputs.0, &outputs.1)? {
                return Err(format!("{} and {} differ", outputs.0.display(), outputs.1.display()).into());
            }
        }
        let bare_rate = print("bare loop", documents, &bare);
        if !docferry.is_empty() {
            let rate = print("docferry", documents, &docferry);
            println!("the same bytes; docferry reaches {:.1} % of the bare loop", 100.0 * rate / bare_rate);
        }
        Ok(())
    }

    fn bare_loop(&self, output: &Path) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["measured".as_ref(), std::env::current_exe()?.as_os_str(), "bare".as_ref()]);
        command.args([&self.input, output]);
        Ok(command)
    }

    fn docferry(&self, program: &Path, output: &Path) -> Command {
        let strategy = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/five_steps.toml");
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command.arg("measured").arg(program).args(["migrate", "--strategy", strategy]);
        command.args(["--no-auto-scaling", "--restart", "--overwrite", "-q", "--state"]);
        command.arg(self.scratch.join("state")).env("INPUT", &self.input).env("OUTPUT", output);
        command
    }
}

/// Prints one program's medians; returns documents per second of CPU time.
fn print(name: &str, documents: u64, runs: &[Run]) -> f64 {
    let cpu = median(runs, |run| run.cpu.as_secs_f64());
    let wall = median(runs, |run| run.wall.as_secs_f64());
    let memory = median(runs, |run| run.peak_kib as f64 / 1024.0);
    let rate = documents as f64 / cpu;
    println!(
        "{name:<10} {rate:>11.0} documents per CPU-second   CPU {cpu:.3} s   wall {wall:.3} s ({:.0} documents/s)   peak memory {memory:.1} MiB",
        documents as f64 / wall
    );
    rate
}

/// Makes the input once; a later invocation finds it.
fn make_input(scratch: &Path, documents: u64) -> Result<PathBuf> {
    let path = scratch.join(format!("orders-{documents}.jsonl"));
    if !path.try_exists()? {
        let unfinished = path.with_extension("unfinished");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/make_input.py");
        let made = Command::new("python3")
            .args([script, &documents.to_string()])
            .stdout(File::create(&unfinished)?)
            .status()?;
        if !made.success() {
            return Err("benches/make_input.py failed".into());
        }
        std::fs::rename(unfinished, &path)?;
    }
    Ok(path)
}

/// Counts line ends; reading it all also brings the file into the page cache, for both programs alike.
fn count_lines(path: &Path) -> Result<u64> {
    let mut count = 0;
    each_block(path, |block| count += memchr::memchr_iter(b'\n', block).count() as u64)?;
    Ok(count)
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool> {
    let mut other = File::open(other)?;
    let mut theirs = Vec::new();
    let mut same = true;
    each_block(one, |block| {
        theirs.resize(block.len(), 0);
        same = same && other.read_exact(&mut theirs).is_ok() && theirs == block;
    })?;
    Ok(same && other.read(&mut [0])? == 0)
}

fn each_block(path: &Path, mut look: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            got => look(&block[..got]),
        }
    }
}
