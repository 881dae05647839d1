//! Colours. SVG is drawn in the light ones; the style sheet changes each into its dark partner
//! where the reader asks for dark, and paper gets the light ones.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x24, 0x2b, 0x33);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xe2, 0xe8);
/// The colour of alarms.
pub(super) const ALARM: RGBColor = RGBColor(0xc6, 0x28, 0x28);

/// The series of a plot, in their order; the first alarms. Distinguishable with any colour vision,
/// and by their order in the legend.
pub(super) const SERIES: [RGBColor; 8] = [
    RGBColor(0x1f, 0x6f, 0xb4),
    RGBColor(0xd2, 0x69, 0x1e),
    RGBColor(0x2c, 0x8c, 0x62),
    RGBColor(0x8a, 0x4f, 0xb8),
    RGBColor(0x8c, 0x6d, 0x1f),
    RGBColor(0x5d, 0x67, 0x73),
    RGBColor(0xb8, 0x3a, 0x7d),
    RGBColor(0x17, 0x84, 0x8f),
];

/// Each light colour's dark partner.
const DARK: [(RGBColor, &str); 11] = [
    (INK, "#e3e7eb"),
    (GRID, "#37404a"),
    (ALARM, "#ff7b72"),
    (SERIES[0], "#6cb6ff"),
    (SERIES[1], "#f0a35e"),
    (SERIES[2], "#63cf9d"),
    (SERIES[3], "#c79bf2"),
    (SERIES[4], "#d9bb62"),
    (SERIES[5], "#a3aeba"),
    (SERIES[6], "#f08dbd"),
    (SERIES[7], "#5ecfd6"),
];

/// The colour as the SVG writer writes it.
pub(super) fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The part of the style sheet that gives the legend its colours and makes everything dark.
pub(super) fn style() -> String {
    let mut style = String::new();
    for (number, colour) in SERIES.iter().enumerate() {
        let _ = writeln!(style, ".k{number}{{color:{}}}", hex(*colour));
    }
    style.push_str("@media screen and (prefers-color-scheme:dark){\n");
    for (light, dark) in DARK {
        let light = hex(light);
        let _ = writeln!(style, "svg [fill=\"{light}\"]{{fill:{dark}}}");
        let _ = writeln!(style, "svg [stroke=\"{light}\"]{{stroke:{dark}}}");
    }
    for (number, (_, dark)) in DARK[3..].iter().enumerate() {
        let _ = writeln!(style, ".k{number}{{color:{dark}}}");
    }
    style.push_str("}\n");
    style
}
