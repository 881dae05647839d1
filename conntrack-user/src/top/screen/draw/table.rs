//! The lines of the table: numbers, and the values of the keys.

use ratatui::layout::Rect;

use super::super::app::TopApp;
use super::{change_text, skip};
use crate::text::human;
use crate::text::sanitize::shown;
use crate::top::counted::NUMBER;
use crate::top::key::{Key, name_of};
use crate::top::look::{Look, LookLine};
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

/// The space between two columns.
const GAP: usize = 2;
/// The least room that values have beside numbers that only qualify others.
const LEAST_VALUES: usize = 16;
/// The narrowest column of values.
const NARROWEST: usize = 6;
/// The widths of the bar with the share, from the narrowest on that shows something.
const BAR: std::ops::RangeInclusive<u16> = 12..=40;

/// One column: its heading, its cells, and how they are drawn.
struct Column {
    heading: String,
    cells: Vec<String>,
    role: Role,
    width: usize,
    is_number: bool,
}

impl Column {
    fn new(heading: &str, cells: impl Iterator<Item = String>, role: Role) -> Self {
        let cells: Vec<String> = cells.collect();
        let longest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
        let width = longest.max(heading.chars().count());
        Self { heading: heading.to_owned(), cells, role, width, is_number: true }
    }
}

/// Draws the heading, as many lines as there is room for, and a line for all others.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, look: &Look, app: &TopApp) {
    if area.height < 2 || look.counted.composition.entries == 0 {
        return;
    }
    let total = look.counted.composition.entries;
    let room = usize::from(area.height - 1);
    let lines = app.lines().get(app.scroll..).unwrap_or_default();
    let lines = &lines[..lines.len().min(room)];
    let is_all = lines.iter().map(|line| line.entries).sum::<u64>() == total;
    let lines = if is_all { lines } else { &lines[..lines.len().min(room - 1)] };
    let rest = total - lines.iter().map(|line| line.entries).sum::<u64>();
    let others =
        (rest > 0).then(|| LookLine { values: Box::default(), entries: rest, change: None });

    let mut columns = numbers(look, lines, others.as_ref(), pen.theme.ascii);
    let mut values = values(look, lines, app);
    if others.is_some()
        && let Some(first) = values.first_mut()
    {
        let name = look.counted.others(lines.len());
        first.width = first.width.max(name.len());
        first.cells.push(name);
    }
    fit(&mut columns, &mut values, area.width.into());
    columns.extend(values);
    let end = place(pen, area, &columns);
    bars(pen, Rect { x: end, ..skip(area, 1) }, look, lines);
}

/// The columns of numbers; the line of the others has no change.
fn numbers(look: &Look, lines: &[LookLine], others: Option<&LookLine>, ascii: bool) -> Vec<Column> {
    let all = || lines.iter().chain(others);
    let entries =
        |line: &LookLine| human::number(look.counted.estimate(line.entries).entries as f64, NUMBER);
    let share = |line: &LookLine| human::percent(100.0 * look.counted.share(line.entries).0);
    let interval = |line: &LookLine| {
        let (low, high) = look.counted.share(line.entries).1;
        let [low, high] = [low, high].map(|share| human::percent(100.0 * share));
        format!("{}-{high}", low.trim_end_matches('%'))
    };
    let mut columns = vec![
        Column::new("entries", all().map(entries), Role::Plain),
        Column::new("share", all().map(share), Role::Plain),
    ];
    if look.counted.is_sample() {
        columns.push(Column::new("interval", all().map(interval), Role::Dim));
    }
    let changes = lines.iter().map(|line| change_text(line.change, ascii));
    columns.push(Column::new("net change/s", changes, Role::Plain));
    columns
}

/// A column of values for each key.
fn values(look: &Look, lines: &[LookLine], app: &TopApp) -> Vec<Column> {
    let keys = look.query.selection.keys.iter().enumerate();
    keys.map(|(at, key): (usize, &Key)| {
        let name = |line: &LookLine| name_of(line.values[at], &app.setup.names);
        let cells = lines.iter().map(|line| shown(&name(line)).into_owned());
        let column = Column::new(&key.to_string(), cells, Role::Plain);
        Column { is_number: false, ..column }
    })
    .collect()
}

/// Makes the columns as narrow as the screen: first those numbers go that qualify others, then values
/// are cut, the widest first.
fn fit(numbers: &mut Vec<Column>, values: &mut [Column], width: usize) {
    let sum = |columns: &[Column]| columns.iter().map(|column| column.width + GAP).sum::<usize>();
    let all = |numbers: &[Column], values: &[Column]| sum(numbers) + sum(values) - GAP;
    if all(numbers, values) > width && numbers.len() == 4 {
        numbers.remove(2);
    }
    if all(numbers, values) > width && width < sum(numbers) + LEAST_VALUES {
        numbers.pop();
    }
    while all(numbers, values) > width {
        let widest = values.iter_mut().max_by_key(|column| column.width);
        match widest.filter(|column| column.width > NARROWEST) {
            Some(column) => column.width -= 1,
            None => break,
        }
    }
}

/// Draws the columns side by side; returns where they end.
fn place(pen: &mut Pen<'_>, area: Rect, columns: &[Column]) -> u16 {
    let mut x = area.x;
    for column in columns {
        let width = u16::try_from(column.width).unwrap_or(u16::MAX);
        let end = x.saturating_add(width).min(area.right());
        let cells = [&column.heading].into_iter().chain(&column.cells);
        for (number, (y, cell)) in (area.y..area.bottom()).zip(cells).enumerate() {
            let role = if number == 0 { Role::Heading } else { column.role };
            if column.is_number {
                pen.right(end, y, width, cell, role);
            } else {
                pen.foreign(x, y, end, cell, role);
            }
        }
        x = end.saturating_add(GAP as u16);
    }
    x
}

/// Draws the shares as bars where there is room beside the columns.
fn bars(pen: &mut Pen<'_>, area: Rect, look: &Look, lines: &[LookLine]) {
    let width = pen.buffer.area().right().saturating_sub(area.x).min(*BAR.end());
    if width < *BAR.start() {
        return;
    }
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        let share = look.counted.share(line.entries).0;
        pen.bar(Rect { x: area.x, y, width, height: 1 }, share, Role::Bar);
    }
}
