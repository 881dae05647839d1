//! The help panel: the keys, and how to read the picture.

use ratatui::layout::Rect;

use crate::live::app::App;
use crate::live::keys::KEYS;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

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
    let mut y = area.y;
    let mut put = |pen: &mut Pen<'_>, key: &str, text: &str| {
        if y < area.bottom() {
            let x = pen.text(area.x, y, area.right(), key, Role::Heading);
            pen.text(
                if key.is_empty() { x } else { area.x + 17 },
                y,
                area.right(),
                text,
                Role::Plain,
            );
            y += 1;
        }
    };
    let applies = |of: &crate::live::keys::Key| of.replay.is_none_or(|of| of == app.is_replay());
    for key in KEYS.iter().filter(|key| applies(key)) {
        put(pen, key.name, key.what);
    }
    READING.into_iter().for_each(|line| put(pen, "", line));
}
