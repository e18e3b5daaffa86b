//! The directory of the embedded files.

use runtime::config::BadSetting;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A data directory that this process alone uses.
pub struct DataDir {
    path: PathBuf,
    #[expect(dead_code, reason = "the lock is held while the file is open")]
    lock: File,
}

/// The file that lists those that were made in the directory, a name a line. Each holds what the others rely on: one that is
/// missing was lost, and must not be made again as if it were new.
const MADE: &str = "files";

impl DataDir {
    /// Makes the directory where there is none, and takes it for this process.
    pub(crate) fn take(path: &Path) -> Result<Self, BadSetting> {
        let bad = |problem: String| BadSetting::new("--data-dir", format!("{}: {problem}", path.display()));
        std::fs::create_dir_all(path).map_err(|error| bad(error.to_string()))?;
        let lock = File::create(path.join("lock")).map_err(|error| bad(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => {
                Err(bad("is in use by another order-system; stop that one, or choose another directory".into()))
            }
            Err(TryLockError::Error(error)) => Err(bad(error.to_string())),
        }
    }

    fn made(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path.join(MADE)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// That none of these files is lost that were made before.
    pub(crate) fn check(&self, files: &[String]) -> Result<(), BadSetting> {
        let made = self.made();
        let is_lost = |file: &&String| {
            made.contains(file) && std::fs::metadata(self.path.join(file)).map_or(true, |found| found.len() == 0)
        };
        let Some(lost) = files.iter().find(is_lost) else { return Ok(()) };
        let lost = self.path.join(lost);
        let problem = format!(
            "{} is missing or empty, and was made here before; bring the directory back whole from a backup, or begin anew in \
             another one",
            lost.display()
        );
        Err(BadSetting::new("--data-dir", problem))
    }

    /// Notes that these files are there now.
    pub(crate) fn note(&self, files: &[String]) -> Result<(), BadSetting> {
        let mut made = self.made();
        let new: Vec<String> = files.iter().filter(|file| !made.contains(file)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        made.extend(new);
        let write = || {
            let part = self.path.join(format!("{MADE}.part"));
            let mut file = File::create(&part)?;
            made.iter().try_for_each(|name| writeln!(file, "{name}"))?;
            file.sync_all()?;
            std::fs::rename(&part, self.path.join(MADE))
        };
        write().map_err(|error| BadSetting::new("--data-dir", format!("{}: {error}", self.path.display())))
    }
}
