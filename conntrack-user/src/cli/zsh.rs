//! Completion in zsh, which quotes candidates itself.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::{self, EnvCompleter};

/// The script. zsh loads it as the file `_ctpulse` at the first completion and calls it as a function; it
/// must complete then, too, and not only register the function for later ones. A quoted `~` is no
/// home directory, so it stays outside of what is completed.
const SCRIPT: &str = r#"#compdef ctpulse
_ctpulse_complete() {
    local -a typed candidates directories others
    local candidate tilde
    typed=("${(@Q)words}")
    # A quote that is open is not in PREFIX.
    typed[CURRENT]=$IPREFIX${(Q)PREFIX}
    candidates=("${(@f)$(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) VARIABLE=zsh \
        ctpulse -- "${(@)typed[1,CURRENT]}" 2>/dev/null)}")
    if [[ $PREFIX == \~*/* ]]; then
        tilde=${PREFIX%%/*}/
        IPREFIX+=$tilde
        PREFIX=${PREFIX#$tilde}
    fi
    for candidate in $candidates; do
        candidate=${candidate#$tilde}
        if [[ $candidate == */ ]]; then
            directories+=("${candidate%/}")
        else
            others+=("$candidate")
        fi
    done
    (( $#directories )) && _describe -V values directories -S / -r /
    (( $#others )) && _describe -V values others
}
if [[ $funcstack[1] == _ctpulse ]]; then
    _ctpulse_complete "$@"
else
    compdef _ctpulse_complete ctpulse
fi
"#;

/// The shell.
pub(super) struct Zsh;

impl EnvCompleter for Zsh {
    fn name(&self) -> &'static str {
        "zsh"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        _bin: &str,
        _completer: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        to.write_all(SCRIPT.replace("VARIABLE", variable).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        arguments: Vec<OsString>,
        current_dir: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        env::Zsh.write_complete(command, arguments, current_dir, to)
    }
}
