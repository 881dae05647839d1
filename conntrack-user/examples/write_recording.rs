//! `write_recording FILE BYTES`: a recording of at least that length, the same every time, for
//! the benchmark of `ctpulse report`.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use ctpulse::format::{EncoderOptions, Format, encoder};

#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#[path = "../../tests/host/recordings.rs"]
mod recordings;

use recordings::{Burst, Plan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(bytes)) = (arguments.next(), arguments.next()) else {
        return Err("usage: write_recording FILE BYTES".into());
    };
    let least: u64 = bytes.parse()?;
    let burst =
        Burst { at_ms: 50_000, length_ms: 20, inserts_per_sample: 500, drops_per_sample: 90 };
    let plan = Plan { wide: true, bursts: vec![burst], ..Plan::of(50, u64::MAX) };
    let mut encoder = encoder(Format::Influx, EncoderOptions::default());
    let mut file = BufWriter::new(File::create(path)?);
    let (mut text, mut written) = (Vec::new(), 0);
    for rows in plan.emissions() {
        text.clear();
        encoder.encode(&rows, &mut text);
        file.write_all(&text)?;
        written += text.len() as u64;
        if written >= least {
            break;
        }
    }
    file.flush()?;
    Ok(())
}
