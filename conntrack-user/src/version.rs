//! The identity of this program: its version, its commit, and its eBPF object.
//!
//! `build.rs` finds out; nothing here depends on when or where it was built.

use std::sync::LazyLock;

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit in 40 hexadecimal digits, with `-dirty` behind it when the sources were changed
/// since; `None` when it was built outside of a git checkout.
pub const COMMIT: Option<&str> = known(env!("CTPULSE_COMMIT"));

/// SHA-256 of the eBPF object that is built in, as in `conntrack-ebpf/object/manifest.toml`.
pub const OBJECT: &str = env!("CTPULSE_OBJECT");

/// The target that it was built for.
pub const TARGET: &str = env!("CTPULSE_TARGET");

/// The number of digits that distinguish a digest in practice.
const SHORT: usize = 12;

/// `-V`: one line.
pub static LINE: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.map_or_else(|| "commit unknown".to_owned(), short);
    format!("{VERSION} ({commit}, eBPF object {})", short(OBJECT))
});

/// `--version`: a line each.
pub static LINES: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.unwrap_or("unknown: built outside of a git checkout");
    format!(
        "{VERSION}\ncommit       {commit}\neBPF object  {}\ntarget       {TARGET}",
        short(OBJECT)
    )
});

const fn known(text: &str) -> Option<&str> {
    if text.is_empty() { None } else { Some(text) }
}

/// The beginning of a digest, and what stands behind it.
fn short(digest: &str) -> String {
    let (hex, rest) = digest.split_at(digest.find('-').unwrap_or(digest.len()));
    format!("{}{rest}", hex.get(..SHORT).unwrap_or(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_digest_keeps_its_suffix() {
        let digest = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(short(digest), "0123456789ab");
        assert_eq!(short(&format!("{digest}-dirty")), "0123456789ab-dirty");
        assert_eq!(short("abc"), "abc");
    }
}
