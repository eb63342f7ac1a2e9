//! Rows under headings.

use super::text::safe;

/// A table whose columns are as wide as what is in them. Every cell is made safe to print.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings.
    pub(crate) fn new(headings: [&str; COLUMNS]) -> Self {
        Self { rows: vec![headings.map(str::to_owned)] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [&str; COLUMNS]) {
        self.rows.push(cells.map(safe));
    }

    /// The table as text, one line each, without spaces at the end of lines.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_cannot_break_them() {
        let mut table = Table::new(["NAME", "ROLE"]);
        table.row(["alice", "writer"]);
        table.row(["b\n\u{1b}[31m", ""]);
        assert_eq!(table.text(), "NAME           ROLE\nalice          writer\nb\\n\\u{1b}[31m\n");
    }

    #[test]
    fn a_hundred_thousand_odd_names_stay_on_their_lines() {
        // Any character at all, the troublesome ones more often than they deserve.
        const TROUBLE: [char; 12] = [
            '\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}',
            '\u{2028}',
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut names = Vec::new();
        for _ in 0..100_000 {
            let length = next() % 12;
            let name: String = (0..length)
                .filter_map(|_| match next() {
                    odd if odd % 4 == 0 => usize::try_from(odd >> 8).ok().map(|odd| TROUBLE[odd % TROUBLE.len()]),
                    any => u32::try_from((any >> 8) % 0x11_0000).ok().and_then(char::from_u32),
                })
                .collect();
            names.push(name);
        }
        let mut table = Table::new(["NAME"]);
        for name in &names {
            table.row([name]);
        }
        let text = table.text();
        assert_eq!(text.lines().count(), names.len() + 1);
        let raw = |c: char| c != '\n' && (c.is_control() || TROUBLE.contains(&c));
        assert!(!text.contains(raw));
        // What was harmless is shown as it is.
        let shown = text.lines().skip(1).zip(&names).filter(|(_, name)| safe(name) == **name);
        for (line, name) in shown {
            assert_eq!(line, name.trim_end());
        }
    }
}
