//! Lists that are read page by page: what is added meanwhile moves nothing.

use super::Refusal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The most entries of one page.
pub const MOST: u64 = 100;
/// Entries of a page, if nobody says how many.
const USUAL: u64 = 20;

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many entries at most.
    pub limit: u64,
    /// Those behind the entry of this moment and id.
    pub behind: Option<(i64, Uuid)>,
}

impl Page {
    /// What a request asks for.
    pub fn of(limit: Option<u64>, cursor: Option<&str>) -> Result<Self, Refusal> {
        let unreadable = || Refusal::malformed("cursor", "is none that a list has given");
        let behind = cursor.map(|cursor| read(cursor).ok_or_else(unreadable)).transpose()?;
        Ok(Page { limit: limit.unwrap_or(USUAL), behind })
    }

    /// Cuts what was read (one entry more than the limit, if there is one) to the page, with the next one's cursor.
    pub fn cut<T>(self, entries: &mut Vec<T>, place: impl Fn(&T) -> (i64, Uuid)) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if entries.len() <= limit {
            return None;
        }
        entries.truncate(limit);
        entries.last().map(|last| {
            let (at, id) = place(last);
            URL_SAFE_NO_PAD.encode(format!("{at} {id}"))
        })
    }
}

fn read(cursor: &str) -> Option<(i64, Uuid)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.split_once(' ')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Page;
    use uuid::Uuid;

    #[test]
    fn a_cursor_leads_to_the_place_behind_the_page() {
        let mut entries: Vec<(i64, Uuid)> = (0..3).map(|i| (-i, Uuid::from_u128(7))).collect();
        let Ok(page) = Page::of(Some(2), None) else { panic!("a good page") };
        let cursor = page.cut(&mut entries, |entry| *entry).expect("there is more");
        assert_eq!(entries.len(), 2);
        let Ok(next) = Page::of(Some(2), Some(&cursor)) else { panic!("a good cursor") };
        assert_eq!(next.behind, entries.last().copied());
        assert_eq!(next.cut(&mut entries, |entry| *entry), None, "this was the last page");
    }

    #[test]
    fn other_cursors_are_refused() {
        for cursor in ["", "x", "MSAx", "\u{fc}"] {
            assert!(Page::of(None, Some(cursor)).is_err(), "{cursor}");
        }
    }
}
