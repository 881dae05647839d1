//! Pictures of screens in tests, compared with those that are kept in files.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

/// Draws a screen of a size.
pub(crate) fn picture(width: u16, height: u16, draw: impl FnOnce(&mut Buffer)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

/// Returns the characters of a picture, without blanks at the ends of lines.
pub(crate) fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area().width);
    let lines = buffer.content().chunks(width).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// Compares a picture with the file `path` below this crate, which is written if `CTPULSE_BLESS` is set;
/// returns its characters.
pub(crate) fn compare(path: &str, picture: &Buffer) -> String {
    let found = text(picture);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CTPULSE_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{} differs; found:\n{found}", path.display());
    found
}
