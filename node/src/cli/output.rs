//! What commands print: tables for people, lines for scripts.

use std::io::{self, BufWriter, Stdout, Write as _};

use anyhow::Context as _;

/// Standard output, buffered. A broken pipe comes back as the error that it is.
#[derive(Debug)]
pub(super) struct Out(BufWriter<Stdout>);

impl Out {
    /// Takes standard output.
    pub(super) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let written = self.0.write_all(text.as_ref()).and_then(|()| self.0.write_all(b"\n"));
        written.context("cannot write to stdout")
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_vec(value)?)
    }

    /// Writes a table.
    pub(super) fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> anyhow::Result<()> {
        self.0.write_all(table(head, rows).as_bytes()).context("cannot write to stdout")
    }

    /// Hands on what was written.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.0.flush().context("cannot write to stdout")
    }
}

/// Says something that is not the command's answer.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Lays out a table: columns as wide as their widest cell, those with numbers only to the right.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        !rows.is_empty()
            && rows.iter().all(|row| {
                row[column].chars().next().is_some_and(|c| c.is_ascii_digit())
                    && !row[column].contains(':')
                    && !row[column].contains('T')
            })
    };
    let columns: Vec<(usize, bool)> = (0..N).map(|column| (width(column), numeric(column))).collect();
    let mut text = String::new();
    let heading = head.map(str::to_owned);
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, (width, right)) in row.iter().zip(&columns) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            line += &if *right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_aligns_words_left_and_numbers_right() {
        let rows = [["a.b".to_owned(), "7".to_owned()], ["ü".to_owned(), "1200".to_owned()]];
        assert_eq!(table(["topic", "count"], &rows), "topic  count\na.b        7\nü       1200\n");
        assert_eq!(table(["topic", "count"], &[]), "topic  count\n");
    }
}
