//! The help panel: the keys, and how to read the picture.

use ratatui::layout::Rect;

use crate::live::app::App;
use crate::live::keys::{KEYS, Key};
use crate::tui::help;
use crate::tui::pen::Pen;

const READING: [&str; 10] = [
    "A column's bar is the mean, the line above it the peak of one sample: a burst.",
    "mean and peak are over the time that is shown; each picture ends at its peak.",
    "1/10ms: 1 event in a sample of 10 ms; ten or more in one sample are a rate.",
    "from: kernel  the kernel's own counter     events  probes (--ebpf)",
    "      both    kernel less probes           part    the kernel counts only a part",
    "      none    it is not counted here",
    "filling from 80 %, almost full from 95 %; full in: as in the last 5 seconds.",
    "Missed: samples  ticks that ran late       rows   no room for them on the way",
    "        probe calls  missed or skipped     unplaced  events of an unknown netns",
    "        alloc refused  in any netns: the table was full, or there was no memory",
];

pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, app: &App) {
    let applies = |key: &&Key| key.replay.is_none_or(|of| of == app.is_replay());
    let keys = KEYS.iter().filter(applies).map(|key| (key.name, key.what));
    help::draw(pen, area, keys.chain(READING.map(|line| ("", line))));
}
