use super::*;
use crate::format::Format;
use crate::recording::{Catalog, ReadCounts, files_of, read};

const ROW: &str = "conntrack,cpu=all drop=1i 1795590600000000000\n";

fn rows(path: &Path) -> (u64, u64) {
    let (mut catalog, mut tally) = (Catalog::default(), ReadCounts::default());
    read(&files_of(path), &mut catalog, &mut tally, &mut |_, _| {});
    assert!(tally.unreadable.is_empty(), "{tally:?}");
    (tally.rows, tally.bad_lines)
}

fn content(path: &Path) -> Content {
    Content::of(Format::Influx, path)
}

fn append(path: &Path) -> Result<(RecordingFile, Begun), FileError> {
    RecordingFile::append(path.to_owned(), content(path), None)
}

#[test]
fn an_incomplete_end_is_removed_and_the_file_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fw.influx", "fw.influx.zst"] {
        let path = dir.path().join(name);
        let (mut file, begun) = append(&path).unwrap();
        assert_eq!(begun, Begun::default());
        (0..5).for_each(|_| assert!(file.write(ROW.repeat(3).as_bytes()).unwrap()));
        drop(file); // as if killed: no end of the frame
        let bytes = std::fs::read(&path).unwrap();
        for torn in 1..bytes.len() {
            std::fs::write(&path, &bytes[..torn]).unwrap();
            let before = rows(&path).0;
            let (mut file, _) = append(&path).unwrap();
            file.write(ROW.as_bytes()).unwrap();
            file.finish().unwrap();
            drop(file);
            assert_eq!(rows(&path), (before + 1, 0), "{name} cut at {torn}");
        }
    }
}

/// The state after a power loss: the next row was written behind the torn one, on the same line.
#[test]
fn an_incomplete_end_of_a_csv_file_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.csv");
    let header = "timestamp,measurement,cpu,drop,found\n";
    let row = "1795590600000000000,conntrack,all,1,22\n";
    let whole = [header, row, row].concat();
    for torn in 0..=whole.len() {
        std::fs::write(&path, &whole[..torn]).unwrap();
        let (mut file, begun) = RecordingFile::append(path.clone(), Content::Csv, None).unwrap();
        let kept = whole[..torn].rfind('\n').map_or(0, |end| end + 1);
        assert_eq!(begun.cut, (torn - kept) as u64, "cut at {torn}");
        assert_eq!(begun.header.as_deref(), (kept > 0).then_some(header), "cut at {torn}");
        file.write(row.as_bytes()).unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole[..kept].to_owned() + row);
    }
    // A text without an end that no header begins with.
    for text in ["time", "timestamp,measurement,cpu", "timestamps", "dear diary"] {
        std::fs::write(&path, text).unwrap();
        let is_ours = RecordingFile::append(path.clone(), Content::Csv, None).is_ok();
        let length = path.metadata().unwrap().len();
        let may_be_torn = "timestamp,measurement,cpu".starts_with(text);
        assert_eq!((is_ours, length == 0), (may_be_torn, may_be_torn), "{text}");
    }
}

#[test]
fn other_files_are_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("diary.zst");
    for (name, text) in [
        ("diary", "dear diary\nnothing happened"),
        ("word", "conn"),
        ("diary.zst", "dear diary\n"),
        ("script", "#!/bin/sh\necho hi\nthe last line without an end"),
        ("comments", "## A configuration\nkey = 1"),
        ("gap", "\nconntrack x=1i 1\nand more"),
        ("markdown", "# A heading\ntext"),
    ] {
        let path = path.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        let is_ours = name == "word"; // it may be a torn row
        assert_eq!(append(&path).is_ok(), is_ours, "{name}");
        if !is_ours {
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}

/// A table for a person would be bad lines in the middle of a recording.
#[test]
fn a_table_is_not_appended_to_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows");
    for (text, is_rows) in [
        (ROW, true),
        (
            "{\"fields\":{\"drop\":1},\"name\":\"conntrack\",\"tags\":{},\"timestamp\":1795590600}\n",
            true,
        ),
        ("timestamp,measurement,cpu,drop\n", true),
        ("# HELP conntrack_drop_total x\n", true),
        ("\u{28}\n", false),
        ("TIME      ENTRIES  DROP\n10:00:00  2849     1\n", false),
        ("dear diary", false),
        ("", false),
    ] {
        std::fs::write(&path, text).unwrap();
        let appended = RecordingFile::append(path.clone(), Content::Other, None);
        assert_eq!(appended.is_err(), is_rows, "{text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let zstd = zstd::encode_all(ROW.as_bytes(), 1).unwrap();
    std::fs::write(&path, &zstd).unwrap();
    let refused = RecordingFile::append(path.clone(), Content::Other, None).err().unwrap();
    let why = "was not changed: it is compressed; write to another file";
    assert_eq!(refused.to_string(), format!("{} {why}", path.display()));
}

#[test]
fn rotation_keeps_the_size_and_the_number() {
    let dir = tempfile::tempdir().unwrap();
    for (name, most) in [("fw.influx", 1000), ("fw.influx.zst", 1000 + 200)] {
        let path = dir.path().join(name);
        let rotation = Rotation { size: 1000, keep: 3 };
        let (mut file, _) =
            RecordingFile::append(path.clone(), content(&path), Some(rotation)).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        for number in 0..4000 {
            let row =
                ROW.replace("1i", &format!("{}i", fastrand::Rng::with_seed(number).u64(..) >> 1));
            file.write(row.as_bytes()).unwrap();
        }
        file.finish().unwrap();
        let files = files_of(&path);
        assert_eq!(files.len(), 4, "{name}");
        for file in &files {
            assert!(file.metadata().unwrap().len() <= most, "{}", file.display());
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions();
        assert_eq!(mode(&path), mode(&rotated(&path, 3)), "{name}");
        assert!(rows(&path).0 > 30);
        assert_eq!(rows(&path).1, 0);
    }
}

#[test]
fn two_processes_do_not_write_one_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx");
    let _first = append(&path).unwrap();
    assert!(matches!(append(&path), Err(FileError::Locked(_))));
}

#[test]
fn a_batch_of_many_blocks_is_whole_lines_in_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fw.influx.zst");
    let (mut file, _) = append(&path).unwrap();
    file.write(ROW.repeat(20_000).as_bytes()).unwrap();
    drop(file);
    assert_eq!(rows(&path), (20_000, 0));
    let length = path.metadata().unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    let (found, bad) = rows(&path);
    assert!(found > 1000 && bad == 0, "{found} {bad}");
}

/// The rows that `report` reads from `text`.
fn rows_of(dir: &Path, name: &str, bytes: &[u8]) -> (u64, u64) {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    rows(&path)
}

/// logrotate's `copytruncate`, between two writes and during one.
#[test]
fn a_truncated_recording_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fw.influx", "fw.influx.zst"] {
        let path = dir.path().join(name);
        let (mut file, _) = append(&path).unwrap();
        let write = |file: &mut RecordingFile| file.write(ROW.as_bytes()).unwrap();
        (0..3).for_each(|_| assert!(write(&mut file)));
        assert_eq!(file.change(), None);
        let truncate = || File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        truncate();
        assert_eq!(file.change(), Some(FileChange::Truncated));
        file.begin_again(FileChange::Truncated).unwrap();
        assert!(write(&mut file) && write(&mut file));
        assert_eq!(
            rows_of(dir.path(), &format!("copy-{name}"), &std::fs::read(&path).unwrap()),
            (2, 0)
        );
        // After the look and before the write.
        truncate();
        assert!(!write(&mut file), "{name}: a row in the middle of nothing");
        assert_eq!(file.change(), Some(FileChange::Truncated));
        file.begin_again(FileChange::Truncated).unwrap();
        assert!(write(&mut file));
        file.finish().unwrap();
        drop(file);
        assert_eq!(rows(&path), (1, 0), "{name}");
    }
}

#[test]
fn a_moved_or_removed_file_is_completed_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fw.influx", "fw.influx.zst"] {
        let (path, aside) = (dir.path().join(name), dir.path().join(format!("old-{name}")));
        let (mut file, _) = append(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o604))
            .unwrap();
        file.write(ROW.repeat(2).as_bytes()).unwrap();
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(file.change(), Some(FileChange::Moved));
        file.begin_again(FileChange::Moved).unwrap();
        file.write(ROW.as_bytes()).unwrap();
        assert_eq!((rows(&aside), file.change()), ((2, 0), None));
        let mode = |path: &Path| path.metadata().unwrap().permissions();
        assert_eq!(mode(&aside), mode(&path));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.change(), Some(FileChange::Removed));
        file.begin_again(FileChange::Removed).unwrap();
        file.write(ROW.repeat(3).as_bytes()).unwrap();
        file.finish().unwrap();
        assert_eq!(rows(&path), (3, 0), "{name}");
        assert_eq!(mode(&aside), mode(&path));
    }
}

#[test]
fn a_directory_that_refuses_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nosuch");
    let Err(FileError::Io(_, error)) = append(&missing.join("fw.influx")) else { panic!("opened") };
    assert_eq!(error.to_string(), format!("there is no directory {}", missing.display()));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(FileError::Io(_, error)) = append(&file.join("fw.influx")) else { panic!("opened") };
    assert_eq!(error.to_string(), format!("{} is not a directory", file.display()));
}

#[test]
fn a_longer_file_is_continued_where_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fw.influx", "fw.influx.zst"] {
        let (path, other) = (dir.path().join(name), dir.path().join(format!("other-{name}")));
        let (mut file, _) = append(&other).unwrap();
        (0..50).for_each(|_| assert!(file.write(ROW.as_bytes()).unwrap()));
        file.finish().unwrap();
        let text = std::fs::read(&other).unwrap();
        let (mut file, _) = append(&path).unwrap();
        file.write(ROW.as_bytes()).unwrap();
        assert_eq!(file.change(), None);
        std::fs::write(&path, &text).unwrap();
        // Another program's file does not get the end of this one's frame.
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text);
        assert_eq!(file.change(), Some(FileChange::Overwritten));
        assert_eq!(file.begin_again(FileChange::Overwritten).unwrap(), Begun::default());
        assert!(file.write(ROW.repeat(2).as_bytes()).unwrap());
        assert_eq!(file.change(), None);
        file.finish().unwrap();
        assert_eq!(rows(&path), (52, 0), "{name}");
        // Foreign text is not touched.
        std::fs::write(&path, "dear diary\n".repeat(1000)).unwrap();
        assert_eq!(file.change(), Some(FileChange::Overwritten));
        let refused = file.begin_again(FileChange::Overwritten);
        assert!(matches!(refused, Err(FileError::OtherContent { .. })), "{name}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n".repeat(1000));
    }
}

/// A file that cannot be put aside: here a directory has the name for it.
#[test]
fn a_file_that_cannot_be_rotated_grows_on_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fw.influx", "fw.influx.zst"] {
        let path = dir.path().join(name);
        let rotation = Some(Rotation { size: 20, keep: 3 });
        let (mut file, _) = RecordingFile::append(path.clone(), content(&path), rotation).unwrap();
        file.write(ROW.repeat(2).as_bytes()).unwrap();
        file.write(ROW.repeat(3).as_bytes()).unwrap();
        let aside = rotated(&path, 1);
        assert_eq!((rows(&aside).0, rotated(&path, 2).exists()), (2, false));
        std::fs::create_dir(rotated(&path, 0)).unwrap();
        std::fs::write(rotated(&path, 0).join("file"), "").unwrap();
        std::fs::create_dir(rotated(&path, 2)).unwrap();
        std::fs::create_dir(rotated(&path, 3)).unwrap();
        std::fs::write(rotated(&path, 3).join("file"), "").unwrap();
        (0..20).for_each(|_| assert!(file.write(ROW.as_bytes()).unwrap()));
        assert_eq!((rows(&aside).0, file.change()), (2, None));
        // A file that was put aside cannot be moved to its next number.
        std::fs::remove_dir_all(rotated(&path, 0)).unwrap();
        std::fs::write(rotated(&path, 2).join("file"), "").unwrap();
        file.write(ROW.as_bytes()).unwrap();
        assert_eq!((rows(&aside).0, file.change()), (2, None), "{name}");
        assert!(!rotated(&path, 0).exists(), "{name}");
        std::fs::remove_file(rotated(&path, 2).join("file")).unwrap();
        std::fs::create_dir(rotated(&path, 0)).unwrap();
        // Once it can be, it is.
        std::fs::remove_dir_all(rotated(&path, 0)).unwrap();
        std::fs::remove_dir(rotated(&path, 2)).unwrap();
        std::fs::remove_dir_all(rotated(&path, 3)).unwrap();
        file.write(ROW.as_bytes()).unwrap();
        file.finish().unwrap();
        assert_eq!(rows(&path), (2 + 3 + 20 + 2, 0), "{name}");
        assert!(!rotated(&path, 0).exists() && rotated(&path, 2).exists());
    }
}

#[test]
fn a_file_that_becomes_a_fifo_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.csv");
    let (mut file, _) = RecordingFile::append(path.clone(), Content::Csv, None).unwrap();
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Rows would be lost in the old file, which has no name.
    assert_eq!(file.change(), Some(FileChange::Removed));
    let Err(FileError::Io(_, error)) = file.begin_again(FileChange::Removed) else {
        panic!("a FIFO is a recording")
    };
    assert_eq!(error.to_string(), "it is no regular file");
}
