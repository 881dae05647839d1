//! A file that each batch of rows replaces, as the textfile collector of `node_exporter` reads it:
//! one whole exposition at any time.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::recording::refusal;

/// A new file is for another user to read, whatever the umask of this one.
const MODE: u32 = 0o644;

/// Replaces the regular file `path`, which keeps its mode and, as far as this process may give it
/// away, its owner. A file that is mounted by itself cannot be replaced and is written in place.
///
/// # Errors
/// The system's, with the directory named where that is what refuses.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let created = match File::create_new(&new) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && path.is_file() => {
            return write_in_place(path, text);
        }
        created => created.map_err(|error| refusal(&new, error))?,
    };
    let replaced = fill(created, path, text).and_then(|()| std::fs::rename(&new, path));
    if replaced.is_ok() {
        return Ok(());
    }
    let _ = std::fs::remove_file(&new);
    match replaced {
        // The mount point that a container's engine makes for one file.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => write_in_place(path, text),
        replaced => replaced,
    }
}

fn fill(mut file: File, old: &Path, text: &[u8]) -> io::Result<()> {
    if let Ok(old) = std::fs::metadata(old) {
        // Only root may give a file away; anybody may keep their own.
        let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(old.permissions())?;
    } else {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    file.write_all(text)
}

/// Over what is there, so that it is never empty.
fn write_in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}
