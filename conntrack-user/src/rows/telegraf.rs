//! Telegraf's statistics rows, number for number, faults included (`compat = "telegraf"`).
//!
//! Its plugin takes columns by position from rows of exactly 17 columns, sums `entries` like
//! every other column, and numbers CPUs by row; a file without such rows sums up to zeros.

use std::collections::BTreeMap;

use crate::accumulate::Window;
use crate::metric::{Name, Value};
use crate::schema::fields::DOCUMENTED;
use crate::schema::raw::Layout;
use crate::settings::Collect;

/// The rows of one emission: value of the `cpu` tag and sorted fields. None when nothing could be
/// read.
#[must_use]
pub fn rows(
    window: &Window,
    layout: &Layout,
    collect: Collect,
) -> Vec<(String, Vec<(Name, Value)>)> {
    if window.entries.is_none() {
        return Vec::new();
    }
    let columns = DOCUMENTED.len();
    let whole: Vec<&[u64]> = if layout.names.len() == columns {
        let cells = window.totals.chunks_exact(columns).zip(&window.filled);
        cells.filter(|(_, filled)| usize::from(**filled) == columns).map(|(row, _)| row).collect()
    } else {
        Vec::new()
    };
    let mut rows = Vec::new();
    if collect.all {
        rows.push(("all".to_owned(), fields(|column| whole.iter().map(|row| row[column]).sum())));
    }
    if collect.percpu {
        let cpus = whole.iter().enumerate();
        rows.extend(cpus.map(|(cpu, row)| (format!("cpu{cpu}"), fields(|column| row[column]))));
    }
    rows
}

fn fields(value: impl Fn(usize) -> u64) -> Vec<(Name, Value)> {
    let named = DOCUMENTED.iter().enumerate();
    let sorted: BTreeMap<Name, Value> =
        named.map(|(i, name)| (Name::from(*name), Value::Integer(value(i)))).collect();
    sorted.into_iter().collect()
}
