//! A terminal's screen as SVG.
//!
//! Text is placed word by word, each in its column. Blocks and lines are drawn as shapes, because
//! the fonts of readers differ in how they fill a cell with them.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// The size of a cell, the size of the font, and the distance from a cell's top to the base line.
const CELL: (f32, f32) = (8.0, 17.0);
const FONT: f32 = 13.0;
const BASE_LINE: f32 = 13.0;

/// The space around the screen.
const MARGIN: f32 = 10.0;

const PAPER: &str = "#161b21";
const INK: &str = "#e3e7eb";

/// The colours of a terminal, from black to white and then the bright ones.
const PALETTE: [&str; 16] = [
    "#37404a", "#ff7b72", "#63cf9d", "#d9bb62", "#6cb6ff", "#c79bf2", "#5fc9d8", "#c9d1d9",
    "#6e7681", "#ffa198", "#7ee2b0", "#f0d27a", "#9ecbff", "#dcbdfb", "#83dfec", "#ffffff",
];

/// Draws `screen`, which `title` describes to readers who do not see the picture.
pub(super) fn svg(screen: &Screen, title: &str) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let width = f32::from(columns) * CELL.0 + 2.0 * MARGIN;
    let height = f32::from(rows) * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-size=\"{FONT}\" font-family=\"ui-monospace, \
         'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n<title>{}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{PAPER}\"/>\n",
        escaped(title)
    );
    for row in 0..rows {
        let cells = (0..columns).filter_map(|column| Some((column, screen.cell(row, column)?)));
        let top = MARGIN + f32::from(row) * CELL.1;
        let mut run = Run::default();
        for (column, cell) in cells {
            let style = Style::of(cell);
            let left = MARGIN + f32::from(column) * CELL.0;
            if let Some(paper) = style.paper {
                rectangle(&mut svg, [left, top, CELL.0, CELL.1], paper, 1.0);
            }
            if let Some(shape) = Shape::of(cell.contents()) {
                run.end(&mut svg, top);
                let [x, y, width, height] = shape.part;
                let place = [left + x, top + y, width, height];
                rectangle(&mut svg, place, style.ink, shape.opacity);
            } else {
                run.add(&mut svg, top, left, style, cell.contents());
            }
        }
        run.end(&mut svg, top);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The look of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Style {
    ink: &'static str,
    /// The background, where it is not the screen's.
    paper: Option<&'static str>,
    is_bold: bool,
    is_dim: bool,
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let (ink, paper) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
        let (ink, paper) = if cell.inverse() {
            (paper.unwrap_or(PAPER), Some(ink.unwrap_or(INK)))
        } else {
            (ink.unwrap_or(INK), paper)
        };
        Self { ink, paper, is_bold: cell.bold(), is_dim: cell.dim() }
    }
}

/// A palette colour; `None` for the default. ctpulse uses no colours beyond the sixteen.
fn colour(colour: Color) -> Option<&'static str> {
    match colour {
        Color::Idx(index) => PALETTE.get(usize::from(index)).copied(),
        Color::Default | Color::Rgb(..) => None,
    }
}

/// A word in one style.
#[derive(Debug, Default)]
struct Run {
    text: String,
    start: f32,
    style: Option<Style>,
}

impl Run {
    /// Appends a cell, in a new run where its style differs. A blank cell ends the run.
    fn add(&mut self, svg: &mut String, top: f32, left: f32, style: Style, text: &str) {
        let is_blank = text.trim().is_empty();
        if is_blank || self.style != Some(style) {
            self.end(svg, top);
        }
        if is_blank {
            return;
        }
        if self.style.is_none() {
            self.start = left;
            self.style = Some(style);
        }
        self.text.push_str(text);
    }

    /// Writes the run and begins an empty one.
    fn end(&mut self, svg: &mut String, top: f32) {
        let Self { text, start, style } = std::mem::take(self);
        let Some(style) = style else { return };
        let (y, length) = (top + BASE_LINE, text.chars().count() as f32 * CELL.0);
        let weight = if style.is_bold { " font-weight=\"bold\"" } else { "" };
        let opacity = if style.is_dim { " opacity=\"0.6\"" } else { "" };
        // The length keeps the columns in place whatever font the reader has.
        let _ = writeln!(
            svg,
            "<text x=\"{start}\" y=\"{y}\" textLength=\"{length}\" \
             lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{weight}{opacity}>{}</text>",
            style.ink,
            escaped(&text)
        );
    }
}

/// A character that is drawn as a rectangle.
struct Shape {
    /// Left, top, width and height within the cell.
    part: [f32; 4],
    opacity: f32,
}

impl Shape {
    fn of(text: &str) -> Option<Self> {
        let character = text.chars().next()?;
        let (width, height) = CELL;
        let part = match character {
            '█' | '░' => [0.0, 0.0, width, height],
            // Lower one eighth to lower seven eighths.
            '▁'..='▇' => {
                let eighths = (u32::from(character) - u32::from('▁') + 1) as f32;
                let filled = height * eighths / 8.0;
                [0.0, height - filled, width, filled]
            }
            '│' => [width / 2.0 - 0.5, 0.0, 1.0, height],
            '─' => [0.0, height / 2.0 - 0.5, width, 1.0],
            _ => return None,
        };
        Some(Self { part, opacity: if character == '░' { 0.25 } else { 1.0 } })
    }
}

fn rectangle(svg: &mut String, place: [f32; 4], fill: &str, opacity: f32) {
    let [x, y, width, height] = place;
    let opacity = if opacity < 1.0 { format!(" opacity=\"{opacity}\"") } else { String::new() };
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"{opacity}/>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    fn drawn(written: &str) -> String {
        let size = |cells| NonZero::new(cells).unwrap();
        let mut parser = vt100::Parser::new(size(2), size(12), 0);
        parser.process(written.as_bytes());
        svg(parser.screen(), "a < b")
    }

    #[test]
    fn text_stands_in_its_column_and_is_escaped() {
        let svg = drawn("\x1b[2;3H<a&b>");
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
        let text = "<text x=\"26\" y=\"40\" textLength=\"40\"";
        assert!(svg.contains(text) && svg.contains(">&lt;a&amp;b&gt;</text>"), "{svg}");
    }

    #[test]
    fn styles_begin_new_runs() {
        let svg = drawn("a\x1b[1;31mb\x1b[0mc");
        assert_eq!(svg.matches("<text ").count(), 3, "{svg}");
        assert!(svg.contains("fill=\"#ff7b72\" font-weight=\"bold\">b</text>"), "{svg}");
    }

    #[test]
    fn inverse_swaps_ink_and_paper() {
        let svg = drawn("\x1b[7mx");
        assert!(svg.contains(&format!("height=\"17\" fill=\"{INK}\"/>")), "{svg}");
        assert!(svg.contains(&format!("fill=\"{PAPER}\">x</text>")), "{svg}");
    }

    #[test]
    fn blocks_are_as_high_as_their_characters() {
        let svg = drawn("▁▇█");
        assert!(!svg.contains("<text "), "{svg}");
        for part in ["y=\"24.875\" width=\"8\" height=\"2.125\"", "height=\"14.875\""] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
