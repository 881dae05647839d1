//! The plots of the page of `ctpulse report --html`, one below the other in one SVG.

use std::fmt::Write;

use anyhow::{Context, bail};

/// The size of the plots, as the page declares it.
const PLOT: (u32, u32) = (960, 230);
const VIEW_BOX: &str = "viewBox=\"0 0 960 230\"";

/// The height of a caption above its plot, and the space around all.
const CAPTION: u32 = 30;
const MARGIN: u32 = 12;

/// The plots that are shown; the page has more.
const SHOWN: usize = 2;

/// Takes the first plots with their captions out of `page`.
///
/// # Errors
/// The page has fewer plots, or of another size.
pub(super) fn svg(page: &str) -> anyhow::Result<String> {
    let plots: Vec<_> = page.split("<figure>").skip(1).take(SHOWN).collect();
    if plots.len() < SHOWN {
        bail!("the page has {} plots, and not {SHOWN}", plots.len());
    }
    let width = PLOT.0 + 2 * MARGIN;
    let height = SHOWN as u32 * (CAPTION + PLOT.1) + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\">\n\
         <title>plots of ctpulse report --html</title>\n\
         <style>.tip{{fill:none}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#fff\"/>\n"
    );
    for (number, figure) in (0..).zip(plots) {
        let caption = between(figure, "<figcaption>", "</figcaption>")?;
        let plot = between(figure, "<svg", "</svg>")?;
        if !plot.contains(VIEW_BOX) {
            bail!("the plot '{caption}' is not of {VIEW_BOX}");
        }
        let top = MARGIN + number * (CAPTION + PLOT.1);
        let (base, below) = (top + CAPTION - 10, top + CAPTION);
        let _ = write!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{base}\" font-size=\"16\" font-weight=\"600\" \
             fill=\"#242b33\">{caption}</text>\n\
             <svg x=\"{MARGIN}\" y=\"{below}\" width=\"{}\" height=\"{}\"{plot}</svg>\n",
            PLOT.0, PLOT.1
        );
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// The text between the first `start` and the `end` after it.
fn between<'a>(text: &'a str, start: &str, end: &str) -> anyhow::Result<&'a str> {
    let rest = text.split_once(start).map(|(_, rest)| rest);
    let part = rest.and_then(|rest| rest.split_once(end)).map(|(part, _)| part);
    part.with_context(|| format!("no {start}...{end} in a figure of the page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(plots: usize, view_box: &str) -> String {
        let figure = |number: usize| {
            format!(
                "<figure><figcaption>plot {number}</figcaption><svg role=\"img\" {view_box}>\
                 <line/></svg><ul></ul></figure>"
            )
        };
        format!("<html><main>{}</main>", (0..plots).map(figure).collect::<String>())
    }

    #[test]
    fn plots_stand_below_each_other_with_their_captions() {
        let svg = svg(&page(3, VIEW_BOX)).unwrap();
        assert_eq!(svg.matches("<line/></svg>").count(), SHOWN);
        assert!(svg.contains("y=\"302\" width=\"960\" height=\"230\" role=\"img\""), "{svg}");
        assert!(svg.contains(">plot 1</text>") && !svg.contains("plot 2"), "{svg}");
    }

    #[test]
    fn a_page_of_another_form_is_an_error() {
        let error = |page: &str| svg(page).unwrap_err().to_string();
        assert!(error(&page(1, VIEW_BOX)).contains("1 plots"));
        assert!(error(&page(2, "viewBox=\"0 0 1 1\"")).contains("plot 0"));
    }
}
