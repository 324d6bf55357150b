//! `ketukd import` runs `ketuk-import`, so that a router needs that program on its flash only for imports.

use std::ffi::{CString, NulError};
use std::io;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::unistd::execv;

use super::arguments::Arguments;
use super::{CommandResult, Failure};

/// The importing program. It is in the same folder as this one.
const PROGRAM: &str = "ketuk-import";

/// Replaces this program by `ketuk-import`.
pub(super) fn run(arguments: &Arguments) -> CommandResult {
    let failed = |error: String| Failure::Failed(format!("cannot run {PROGRAM}: {error}"));
    let this = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let path = this.with_file_name(PROGRAM).into_os_string().into_vec();
    let nul = |error: NulError| failed(error.to_string());
    let (program, file) =
        (CString::new(path).map_err(nul)?, CString::new(arguments.operands[0].as_str()).map_err(nul)?);
    let Err(error) = execv(&program, &[&program, &file]);
    Err(failed(match error {
        Errno::ENOENT => {
            format!(
                "{} does not exist; on OpenWrt, install the package ketuk-import",
                program.to_string_lossy()
            )
        }
        // As an `io::Error`, whose words come from the C library. nix has a second list of all errors.
        error => io::Error::from(error).to_string(),
    }))
}
