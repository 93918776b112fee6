//! What does it cost to write a kilobyte document to Cosmos, if one does nothing else? Two references in Rust.
//!
//! Theory: docferry is held against the least that its own driver can be used with. *The door* is a loop that cuts documents out of one buffer,
//! asks the driver which physical partition each belongs to, puts a hundred of one partition into a body and sends it. *The point loop* sends each
//! document as an upsert of its own. Both know id and key of every document beforehand, keep nothing, look at an answer only as far as to see
//! that every document was taken, and have as many requests under way as docferry.
//!
//! A program of this benchmark is a process that waits for words on standard input: each line is a number of documents to be written
//! once, each answer a line `{"documents":..,"wall_us":..}`. `run.py` starts them all, gives them turns and reads from the operating
//! system what each turn cost; started by `cargo bench --bench cosmos -- ARGUMENTS`, this program starts `run.py`.
//!
//! ```text
//! cosmos door|point ENDPOINT KEY DOCUMENTS.jsonl      the container is bench/orders, its partition key /customer
//! ```

#![expect(clippy::print_stdout, reason = "the answers are this program's output")]

mod loops;

use std::error::Error;
use std::io::BufRead;
use std::process::Command;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [way @ ("door" | "point"), endpoint, key, path] => serve(way, endpoint, key, path),
        words if words.contains(&"--bench") => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cosmos/run.py");
            let mut command = Command::new("python3");
            command.args([script, "--docferry", env!("CARGO_BIN_EXE_docferry"), "--loops"]);
            command.arg(std::env::current_exe()?).args(["--scratch", env!("CARGO_TARGET_TMPDIR")]);
            command.args(words.iter().filter(|word| **word != "--bench"));
            let status = command.status()?;
            if status.success() { Ok(()) } else { Err("benches/cosmos/run.py failed".into()) }
        }
        // `cargo test --benches` starts every benchmark without that word, to see whether it builds.
        _ => {
            println!("start with `cargo bench --bench cosmos`");
            Ok(())
        }
    }
}

fn serve(way: &str, endpoint: &str, key: &str, path: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let account = runtime.block_on(Box::pin(loops::Account::connect(endpoint, key)))?;
    let text: &'static [u8] = std::fs::read(path)?.leak();
    let documents = loops::documents(text)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let count = line?.trim().parse::<usize>()?.min(documents.len());
        let begin = Instant::now();
        match way {
            "door" => runtime.block_on(loops::door(&account, &documents[..count]))?,
            _ => runtime.block_on(loops::point(&account, &documents[..count]))?,
        }
        println!(r#"{{"documents":{count},"wall_us":{}}}"#, begin.elapsed().as_micros());
    }
    Ok(())
}
