//! The heat map: a row for each CPU, darker where more happened.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::super::summary::SourceReport;
use super::super::timeline::{OfCpus, Timeline};
use super::plot::{SIZE, finished};
use super::{clock, escape, palette, time_labels};
use crate::text::human::{number, percent};

/// Rows of the map; machines of more CPUs have several in a row.
const ROWS: usize = 64;

/// Draws `timeline`, if anything happened in it.
pub(super) fn map(
    source: &SourceReport,
    title: &str,
    timeline: &Timeline<OfCpus>,
    out: &mut String,
) {
    let cpus = source.cpus.iter().map(|cpu| cpu.cpu + 1).max().unwrap_or(0);
    let columns: Vec<_> = timeline.columns().collect();
    let highest = columns.iter().flat_map(|(_, of)| &of.0).copied().fold(0.0, f32::max);
    if cpus == 0 || highest <= 0.0 {
        return;
    }
    let together = cpus.div_ceil(ROWS);
    let rows = cpus.div_ceil(together);
    // A row's events came since the row before it.
    let covered = (source.interval_seconds.unwrap_or(0.0) * 1e9) as i64;
    let seconds = |ns: i64| (ns.clamp(source.from_ns, source.to_ns) - source.from_ns) as f64 / 1e9;
    let half = timeline.width_ns() / 2;
    let mut cells = Vec::new();
    for (at_ns, of) in &columns {
        let from = seconds((at_ns - half).min(at_ns + half - covered));
        let to = seconds(at_ns + half);
        for (row, events) in of.0.chunks(together).enumerate() {
            let most = events.iter().copied().fold(0.0, f32::max);
            if most > 0.0 {
                cells.push(Cell { from, to, row, at_ns: *at_ns, events: most });
            }
        }
    }
    let share = cells.iter().max_by(|a, b| a.events.total_cmp(&b.events));
    let busiest = share.map_or(String::new(), |cell| {
        format!("; most on {} about {}", name(cell.row, together), clock(source, cell.at_ns))
    });
    let description = format!("{title}, {cpus} CPUs{busiest}. The table below has the sums.");
    let figure = match draw((rows, together), highest, &cells, source) {
        Ok((svg, tips)) => finished(&svg, &description, &tips),
        Err(error) => format!("<p>{}</p>", escape(&error)),
    };
    let _ = write!(out, "<figure><figcaption>{title}</figcaption>{figure}");
    table(&columns, cpus, out);
    out.push_str("</figure>\n");
}

struct Cell {
    /// In seconds after the first row.
    from: f64,
    to: f64,
    row: usize,
    at_ns: i64,
    events: f32,
}

fn name(row: usize, together: usize) -> String {
    match together {
        1 => format!("cpu{row}"),
        _ => format!("cpu{} to cpu{}", row * together, (row + 1) * together - 1),
    }
}

fn draw(
    (rows, together): (usize, usize),
    highest: f32,
    cells: &[Cell],
    source: &SourceReport,
) -> Result<(String, String), String> {
    let span = (source.to_ns - source.from_ns).max(1) as f64 / 1e9;
    let mut svg = String::new();
    let mut tips = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(24)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..span, 0.0..rows as f64)
            .map_err(|error| error.to_string())?;
        let label = ("sans-serif", 13).into_font().color(&palette::INK);
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(palette::GRID)
            .x_labels(time_labels(source))
            .y_labels(rows.min(8) + 1)
            .x_label_formatter(&|x| clock(source, source.from_ns + (x * 1e9) as i64))
            .y_label_formatter(&|y| {
                // The first CPU is at the top.
                let row = rows as f64 - y;
                if row >= 0.0 && row < rows as f64 && row.fract() == 0.0 {
                    format!("cpu{}", row as usize * together)
                } else {
                    String::new()
                }
            })
            .label_style(label)
            .draw()
            .map_err(|error| error.to_string())?;
        for cell in cells {
            let upper = (rows - cell.row) as f64;
            let corners = [(cell.from, upper), (cell.to, upper - 1.0)];
            // Something is always seen.
            let strength = 0.12 + 0.88 * f64::from(cell.events / highest);
            let style = palette::SERIES[1].mix(strength).filled();
            let _ = chart.draw_series([Rectangle::new(corners, style)]);
            let area = chart.plotting_area();
            let ((left, top), (right, bottom)) =
                (area.map_coordinate(&corners[0]), area.map_coordinate(&corners[1]));
            let text = format!(
                "{}: {} on {}",
                clock(source, cell.at_ns),
                number(f64::from(cell.events), 9),
                name(cell.row, together)
            );
            let _ = write!(
                tips,
                "<rect class=\"tip\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\">\
                 <title>{}</title></rect>",
                (right - left).max(1),
                (bottom - top).max(1),
                escape(&text)
            );
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok((svg, tips))
}

fn table(columns: &[(i64, &OfCpus)], cpus: usize, out: &mut String) {
    let mut sums = vec![0.0f64; cpus];
    for (_, of) in columns {
        of.0.iter().enumerate().for_each(|(cpu, events)| sums[cpu] += f64::from(*events));
    }
    let all: f64 = sums.iter().sum();
    out.push_str(
        "<details><summary>Numbers</summary><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">CPU</th><th scope=\"col\">events</th><th scope=\"col\">share</th></tr>\
         </thead><tbody>",
    );
    for (cpu, sum) in sums.iter().enumerate() {
        let share = percent(sum / all * 100.0);
        let _ = write!(
            out,
            "<tr><td>cpu{cpu}</td><td>{}</td><td>{}</td></tr>",
            number(*sum, 15),
            escape(&share)
        );
    }
    out.push_str("</tbody></table></div></details>");
}
