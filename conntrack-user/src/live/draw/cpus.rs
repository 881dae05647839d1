//! How the work is spread over the CPUs: a summary beside the causes, and a table of all.

use ratatui::layout::Rect;

use super::skip;
use crate::live::app::App;
use crate::live::cpu_rates::CpuRates;
use crate::live::namespace::Namespace;
use crate::live::series::{RATES, SERIES};
use crate::text::human;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// How many times its fair share the busiest CPU does from where on it is uneven.
const UNEVEN: f64 = 2.0;

const LABEL: u16 = 8;
const RATE: u16 = 8;

/// The busiest CPUs, and by how much they are.
pub(super) fn summary(pen: &mut Pen<'_>, area: Rect, namespace: &Namespace) {
    if area.height == 0 {
        return;
    }
    let Some(series) = namespace.spread() else {
        pen.heading(area.x, area.y, area.right(), "CPUs");
        let mut rates = namespace.cpus.iter().flat_map(|cpu| cpu.rates);
        let text = match &namespace.cpus[..] {
            [] => "no rows of single CPUs",
            _ if rates.all(f32::is_nan) => "the rates of single CPUs are not known",
            _ => "nothing is counted on any",
        };
        pen.text(area.x, area.y + 1, area.right(), text, Role::Dim);
        return;
    };
    let title = format!("CPUs, {}/s over 10 s", SERIES[series].field.name);
    pen.heading(area.x, area.y, area.right(), &title);
    let mut rest = skip(area, 1);
    let (busiest, share, times) = imbalance(namespace, series);
    let role = if times >= UNEVEN { Role::Warning } else { Role::Plain };
    let uneven = if times >= UNEVEN { "uneven: " } else { "" };
    let percent = human::percent(share * 100.0);
    let text = format!("{uneven}cpu{busiest} {percent}, {times:.1} x its share");
    pen.text(rest.x, rest.y, rest.right(), &text, role);
    rest = skip(rest, 1);
    let fits = usize::from(rest.height);
    let cpus = busiest_first(namespace, series);
    let top = cpus.first().map_or(0.0, |cpu| f64::from(cpu.rates[series]));
    let mut cpus = cpus[..fits.min(cpus.len())].to_vec();
    cpus.sort_by_key(|cpu| cpu.number);
    for (y, cpu) in (rest.y..).zip(cpus) {
        let rate = f64::from(cpu.rates[series]);
        pen.text(rest.x, y, rest.right(), &format!("cpu{}", cpu.number), Role::Dim);
        pen.right(rest.x + LABEL + RATE - 1, y, RATE, &human::number(rate, 7), Role::Plain);
        let bar = Rect { x: rest.x + LABEL + RATE, y, height: 1, ..rest };
        let bar = Rect { width: rest.right().saturating_sub(bar.x), ..bar };
        pen.bar(bar, rate / top, Role::Bar);
    }
}

/// Every CPU with every rate that fits.
pub(super) fn all(pen: &mut Pen<'_>, area: Rect, namespace: &Namespace, app: &App) {
    if area.height < 3 {
        return;
    }
    let series = namespace.spread();
    let order = if app.cpus_by_number { "by number" } else { "busiest first" };
    let title = format!("{} CPUs, events/s over 10 s, {order} (s)", namespace.cpus.len());
    pen.heading(area.x, area.y, area.right(), &title);
    let fits = usize::from(area.width.saturating_sub(LABEL) / (RATE + 1)).min(RATES);
    let end = |column: usize| area.x + LABEL + (RATE + 1) * (column as u16 + 1);
    for (column, shown) in SERIES[..fits].iter().enumerate() {
        let role = if series == Some(column) { Role::Heading } else { Role::Dim };
        pen.right(end(column), area.y + 1, RATE, shown.field.label, role);
    }
    let rest = skip(area, 2);
    let mut cpus: Vec<&CpuRates> = match series {
        Some(series) if !app.cpus_by_number => busiest_first(namespace, series),
        _ => namespace.cpus.iter().collect(),
    };
    let lines = usize::from(rest.height);
    cpus.drain(..app.scroll.min(cpus.len().saturating_sub(lines)));
    for (y, cpu) in (rest.y..rest.bottom()).zip(cpus) {
        pen.text(area.x, y, area.right(), &format!("cpu{}", cpu.number), Role::Plain);
        for (column, shown) in SERIES[..fits].iter().enumerate() {
            let rate = f64::from(cpu.rates[column]);
            let role = match rate {
                rate if rate >= 0.01 && shown.live.alarm.is_some() => Role::Alarm,
                rate if rate >= 0.01 => Role::Plain,
                _ => Role::Dim,
            };
            // What has died away is nothing.
            let rate = if rate < 0.01 { 0.0 } else { rate };
            pen.right(end(column), y, RATE, &human::number(rate, 7), role);
        }
        let bar = Rect { x: end(fits) - RATE, y, height: 1, ..area };
        let width = area.right().saturating_sub(bar.x);
        if let Some(series) = series.filter(|_| width >= 10) {
            let all: f32 = namespace.cpus.iter().map(|cpu| cpu.rates[series]).sum();
            let share = f64::from(cpu.rates[series] / all);
            let end = pen.text(bar.x, y, area.right(), "", Role::Dim);
            pen.right(end + 6, y, 6, &human::percent(share * 100.0), Role::Dim);
            let bar = Rect { x: end + 7, width: width - 7, ..bar };
            pen.bar(bar, share, Role::Bar);
        }
    }
}

fn busiest_first(namespace: &Namespace, series: usize) -> Vec<&CpuRates> {
    let mut cpus: Vec<&CpuRates> = namespace.cpus.iter().collect();
    cpus.sort_by(|a, b| b.rates[series].total_cmp(&a.rates[series]).then(a.number.cmp(&b.number)));
    cpus
}

/// The busiest CPU, its share of all, and how many times a fair share that is.
fn imbalance(namespace: &Namespace, series: usize) -> (u32, f64, f64) {
    let all: f64 = namespace.cpus.iter().map(|cpu| f64::from(cpu.rates[series])).sum();
    let busiest = namespace.cpus.iter().max_by(|a, b| a.rates[series].total_cmp(&b.rates[series]));
    busiest.map_or((0, 0.0, 0.0), |cpu| {
        let share = f64::from(cpu.rates[series]) / all;
        (cpu.number, share, share * namespace.cpus.len() as f64)
    })
}
