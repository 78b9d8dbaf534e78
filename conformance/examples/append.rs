//! The process that faults befall: `append DIR BATCHES [BYTES]` opens the store in DIR and brings it to BATCHES batches.
//! It says on standard output what is acknowledged: one number per line, written when the batch is durable. With BYTES,
//! tables go to files of their own after so many bytes. Ends with 3 at the first error, as a node does.

use std::{io::Write, path::PathBuf, process::ExitCode};

use conformance::appending;
use node::store::DiskStore;

fn main() -> ExitCode {
    match append() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(3)
        }
    }
}

fn append() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("DIR is missing")?);
    let batches: u64 = args.next().and_then(|n| n.parse().ok()).ok_or("BATCHES is no number")?;
    let store = match args.next() {
        None => DiskStore::open(&dir),
        Some(bytes) => DiskStore::open_small(&dir, bytes.parse().map_err(|_| "BYTES is no number")?),
    };
    let store = store.map_err(|e| e.to_string())?;
    let mut out = std::io::stdout();
    while appending::number(&store).map_err(|e| e.to_string())? < batches {
        let n = appending::next(&store).map_err(|e| e.to_string())?;
        writeln!(out, "{n}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
    }
    Ok(())
}
