//! A table as wide as the terminal: columns as wide as their widest cell, the last one cut to what is left.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::shown;

/// Between two columns.
const GAP: usize = 2;

/// How a cell stands out on a terminal that has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// Green: well.
    Good,
    /// Red: look here.
    Bad,
    /// Yellow: not settled.
    Open,
    /// Dim: over and done with.
    Faint,
}

impl Tone {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Open => Some("33"),
            Self::Faint => Some("2"),
        }
    }
}

/// One cell, made harmless for a terminal.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell that stands out in this way.
    #[must_use]
    pub fn toned(text: impl AsRef<std::ffi::OsStr>, tone: Tone) -> Self {
        Self { text: shown(text), tone }
    }
}

impl<T: AsRef<std::ffi::OsStr>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Renders rows under their heads; `width` is the terminal's, where there is one.
#[must_use]
pub fn render(head: &[&str], rows: &[Vec<Cell>], width: Option<usize>, colour: bool) -> String {
    let heads: Vec<Cell> = head.iter().map(|name| Cell::toned(name, Tone::Faint)).collect();
    let mut widths: Vec<usize> = heads.iter().map(|cell| cell.text.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let mut left = width.unwrap_or(usize::MAX);
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let last = i + 1 == row.len();
            let text = cut(&cell.text, left);
            let used = text.width();
            paint(&mut line, &text, if colour { cell.tone } else { Tone::Plain });
            let padding = if last { 0 } else { (widths[i] + GAP).saturating_sub(used) };
            let padding = padding.min(left.saturating_sub(used));
            left = left.saturating_sub(used + padding);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn paint(line: &mut String, text: &str, tone: Tone) {
    match tone.code() {
        Some(code) if !text.is_empty() => {
            let _ = write!(line, "\u{1b}[{code}m{text}\u{1b}[0m");
        }
        _ => line.push_str(text),
    }
}

/// As much of the text as `columns` hold; what is cut is marked.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        // The selector of an emoji has no width and makes what is before it wide.
        used += c.width().unwrap_or(0).max(usize::from(c == '\u{fe0f}'));
        if used > columns {
            break;
        }
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_line_up_in_any_script() {
        let rows = vec![vec!["学習".into(), "x".into()], vec!["a".into(), "途中経過".into()]];
        assert_eq!(render(&["NAME", "NOTE"], &rows, None, false), "NAME  NOTE\n学習  x\na     途中経過\n");
        assert_eq!(render(&["NAME", "NOTE"], &rows, Some(11), false), "NAME  NOTE\n学習  x\na     途中…\n");
    }

    #[test]
    fn what_has_no_width_follows_no_padding() {
        let wide = |line: &str, columns| render(&["A", "B"], &[vec![line.into(), "\u{10efc}".into()]], Some(columns), false);
        assert_eq!(wide("abcd", 0), "\n\u{10efc}\n");
        assert_eq!(wide("\u{263a}\u{fe0f}\u{263a}\u{fe0f}", 3), "A\n\u{263a}\u{fe0f}…\u{10efc}\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(cells in proptest::collection::vec("\\PC{0,20}", 1..5), width in 0usize..60) {
            let row: Vec<Cell> = cells.iter().map(Cell::from).collect();
            let head: Vec<&str> = cells.iter().map(|_| "H").collect();
            for line in render(&head, &[row], Some(width), false).lines() {
                prop_assert!(line.width() <= width);
            }
        }
    }
}
