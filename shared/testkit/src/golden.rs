use std::path::{Path, PathBuf};

/// Fails when the file at `path`, from the top of the repository, is not `expected`. With `UPDATE_GOLDEN=1` in the
/// environment it is written instead.
///
/// # Panics
/// When the file differs, saying where and what to do.
pub fn golden(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, expected).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some((line, (is, should))) = first_difference(&found, expected) {
        panic!(
            "{path} is not what the code says, from line {line} on:\n  is:     {is}\n  should: {should}\n\
             If the change is meant, run the tests with UPDATE_GOLDEN=1 and look at the difference."
        );
    }
}

fn root() -> PathBuf {
    // This crate is two levels below the top.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn first_difference<'a>(found: &'a str, expected: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let lines = found.lines().count().max(expected.lines().count());
    let at = |text: &'a str, line: usize| text.lines().nth(line).unwrap_or("(nothing)");
    (0..lines).map(|line| (line + 1, (at(found, line), at(expected, line)))).find(|(_, (is, should))| is != should)
}
