//! `parse_lines FILE`: reads a file of line protocol through the crate `influxdb-line-protocol` and
//! does nothing with it: what `ctpulse report` is measured against.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;

use influxdb_line_protocol::{FieldValue, parse_lines};

/// Read and parsed at once, in bytes.
const CHUNK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: parse_lines FILE")?;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    let (mut kept, mut lines, mut fields, mut sum) = (0, 0u64, 0u64, 0.0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            break;
        }
        let length = kept + read;
        let whole = buffer[..length].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in parse_lines(std::str::from_utf8(&buffer[..whole])?) {
            let line = line?;
            lines += 1;
            for (_, value) in &line.field_set {
                fields += 1;
                sum += match value {
                    FieldValue::I64(value) => *value as f64,
                    FieldValue::F64(value) => *value,
                    _ => 0.0,
                };
            }
        }
        buffer.copy_within(whole..length, 0);
        kept = length - whole;
    }
    println!("lines={lines} fields={fields} sum={sum}");
    Ok(())
}
