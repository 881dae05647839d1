//! The release of the kernel.

use std::path::Path;

use super::opened;
use crate::schema::maintained::parse_release;
use crate::schema::raw::Release;

/// Reads the release from an `osrelease` file; `None` where it cannot be read or is no number.
#[must_use]
pub fn read(path: &Path) -> Option<Release> {
    parse_release(&opened::text(path).ok()?)
}
