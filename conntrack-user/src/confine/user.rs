//! Another user than root (`user`): from here on the kernel checks files against that one.
//!
//! Names are looked up in `/etc/passwd` alone, which is where service users are; a static program
//! cannot ask other directories.

use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitySet, Gid, Uid, set_keep_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::capabilities;

const PASSWD: &str = "/etc/passwd";

/// Why it cannot become that user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no user of that name.
    #[error(
        "no user '{0}' in {PASSWD}; create it (useradd --system {0}), or write UID:GID as numbers"
    )]
    Unknown(String),
    /// There is no user of that number, which would name its group.
    #[error("no user has the number {0} in {PASSWD}; write UID:GID, such as {0}:{0}")]
    UnknownNumber(u32),
    /// The name is empty.
    #[error("the name of the user is empty; write a name, or UID:GID as numbers")]
    Empty,
    /// A colon, and no numbers at both sides of it.
    #[error("'{0}' is not UID:GID as numbers; write for example 997:996")]
    NotNumbers(String),
    /// -1, with which system calls leave a user or a group as it is.
    #[error(
        "'{0}' has the number {none}, which no user or group can have; write for example 997:996",
        none = u32::MAX
    )]
    NoNumber(String),
    /// The file cannot be read.
    #[error("cannot look up user '{0}': {PASSWD}: {1}")]
    Passwd(String, io::Error),
    /// Only root may become another user.
    #[error(
        "cannot become user '{0}': only root can (CAP_SETUID and CAP_SETGID); leave `user` out"
    )]
    NotRoot(String),
    /// The kernel refused.
    #[error("cannot become user '{0}': {1}")]
    Refused(String, io::Error),
}

/// Makes `name` (or its number, or `UID:GID`) the user of this thread and of those that it will start, with no
/// supplementary groups, keeping the capabilities that a run may need. Nothing happens where it is
/// that user already, with that group. Must come before other threads and before files are made.
///
/// # Errors
/// [`UserError`].
pub fn switch_to(name: &str) -> Result<(), UserError> {
    let (uid, gid) = find(name)?;
    if (geteuid().as_raw(), getegid().as_raw()) == (uid, gid) {
        return Ok(());
    }
    let before = capabilities::held().unwrap_or(CapabilitySet::empty());
    if !before.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        return Err(UserError::NotRoot(name.to_owned()));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let switched = set_keep_capabilities(true)
        .and_then(|()| set_thread_groups(&[]))
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .and_then(|()| set_keep_capabilities(false))
        .and_then(|()| capabilities::raise_only(before & capabilities::EVER));
    switched.map_err(|errno| UserError::Refused(name.to_owned(), errno.into()))
}

/// Checks that `name` can be that of a user, or is `UID:GID`.
///
/// # Errors
/// [`UserError::Empty`] and [`UserError::NotNumbers`].
pub fn check_form(name: &str) -> Result<(), UserError> {
    numbers(name).map(|_| ())
}

/// Checks that there is this user, or that it is `UID:GID`.
///
/// # Errors
/// [`UserError`]; the privilege to become that user is not asked for.
pub fn check_known(name: &str) -> Result<(), UserError> {
    find(name).map(|_| ())
}

/// The numbers of `UID:GID`; `None` for the name of a user.
fn numbers(name: &str) -> Result<Option<(u32, u32)>, UserError> {
    if name.is_empty() {
        return Err(UserError::Empty);
    }
    let Some((uid, gid)) = name.split_once(':') else { return Ok(None) };
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => possible(name, (uid, gid)).map(Some),
        _ => Err(UserError::NotNumbers(name.to_owned())),
    }
}

/// Checks that the kernel takes these numbers as those of a user and a group.
fn possible(name: &str, numbers: (u32, u32)) -> Result<(u32, u32), UserError> {
    if numbers.0 == u32::MAX || numbers.1 == u32::MAX {
        return Err(UserError::NoNumber(name.to_owned()));
    }
    Ok(numbers)
}

fn find(name: &str) -> Result<(u32, u32), UserError> {
    if let Some(numbers) = numbers(name)? {
        return Ok(numbers);
    }
    match std::fs::read(PASSWD) {
        Ok(passwd) => {
            let found = find_in(&String::from_utf8_lossy(&passwd), name);
            let unknown = || match name.parse() {
                Ok(u32::MAX) => UserError::NoNumber(name.to_owned()),
                Ok(number) => UserError::UnknownNumber(number),
                Err(_) => UserError::Unknown(name.to_owned()),
            };
            possible(name, found.ok_or_else(unknown)?)
        }
        Err(error) => Err(UserError::Passwd(name.to_owned(), error)),
    }
}

/// The numbers of the user of this name, or else number, and of its group; fields are name, password,
/// user, group, ...
fn find_in(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let users = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
            Some((name, uid.parse().ok()?, gid.parse().ok()?))
        })
    };
    let number: Option<u32> = name.parse().ok();
    let by_name = users().find(|(known, ..)| *known == name);
    let (_, uid, gid) = by_name.or_else(|| users().find(|(_, uid, _)| Some(*uid) == number))?;
    Some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_must_match_completely() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nx\nct:x:997:996::/:/sbin/nologin\nbad:x:a:b\n";
        assert_eq!(find_in(passwd, "ct"), Some((997, 996)));
        assert_eq!(find_in(passwd, "root"), Some((0, 0)));
        // A number is a name first.
        assert_eq!(find_in(passwd, "997"), Some((997, 996)));
        assert_eq!(find_in("997:x:1:2\nct:x:997:996\n", "997"), Some((1, 2)));
        for absent in ["c", "", "bad", "x", "ctp", "996", "-1"] {
            assert_eq!(find_in(passwd, absent), None, "{absent}");
        }
        assert!(matches!(find("12:34"), Ok((12, 34))));
        let unknown = find("no such user").unwrap_err().to_string();
        assert!(
            unknown.starts_with("no user 'no such user' in /etc/passwd; create it"),
            "{unknown}"
        );
    }

    #[test]
    fn a_number_without_a_user_needs_its_group() {
        let error = |name: &str| find(name).unwrap_err().to_string();
        assert_eq!(
            error("4294967294"),
            "no user has the number 4294967294 in /etc/passwd; write UID:GID, such as \
             4294967294:4294967294"
        );
        for pair in ["1:", ":1", "a:1", "1:2:3"] {
            let expected = "' is not UID:GID as numbers; write for example 997:996";
            assert_eq!(error(pair), format!("'{pair}{expected}"));
        }
        assert!(error("").starts_with("the name of the user is empty"));
        for pair in ["4294967295:1", "1:4294967295", "4294967295:4294967295", "4294967295"] {
            let expected = "' has the number 4294967295, which no user or group can have";
            assert!(error(pair).starts_with(&format!("'{pair}{expected}")), "{}", error(pair));
        }
    }
}
