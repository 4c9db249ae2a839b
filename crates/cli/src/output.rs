//! What commands print: tables for people, tabs for pipes, JSON for programs.
//!
//! Key type: [`Output`]. Standard output carries results only; everything said to people beside them goes to
//! standard error.

use std::io::{BufWriter, IsTerminal as _, StdoutLock, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A table with headings.
    Table,
    /// Fields with tabs between, a line a row, no headings.
    Tabs,
    /// JSON.
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) style: Style,
}

impl Output {
    /// JSON if asked for, a table on a terminal, tabs otherwise.
    pub(crate) fn new(json: bool) -> Self {
        let style = match (json, std::io::stdout().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Table,
            (false, false) => Style::Tabs,
        };
        Self { style }
    }

    pub(crate) fn is_json(self) -> bool {
        self.style == Style::Json
    }

    /// A writer with a buffer; whoever takes it flushes it.
    pub(crate) fn writer(self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::with_capacity(64 << 10, std::io::stdout().lock())
    }

    /// One line, unless JSON was asked for.
    pub(crate) fn line(self, text: &str) -> std::io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        let mut out = self.writer();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// A document as JSON, if JSON was asked for. Tells whether it was.
    pub(crate) fn json(self, document: &impl Serialize) -> std::io::Result<bool> {
        if !self.is_json() {
            return Ok(false);
        }
        let mut out = self.writer();
        serde_json::to_writer_pretty(&mut out, document)?;
        writeln!(out)?;
        out.flush()?;
        Ok(true)
    }

    /// Rows under `headings`, as a table or with tabs; nothing when JSON was asked for.
    pub(crate) fn rows(self, headings: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
        let mut out = self.writer();
        match self.style {
            Style::Json => return Ok(()),
            Style::Table => writeln!(out, "{}", table(headings, rows))?,
            Style::Tabs => {
                for row in rows {
                    writeln!(out, "{}", row.join("\t"))?;
                }
            }
        }
        out.flush()
    }
}

/// A table for people: no vertical rules, numbers to the right.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let cells = || rows.iter().filter_map(|row| row.get(place));
        let is_number = |cell: &String| cell == "-" || cell.parse::<f64>().is_ok();
        if cells().any(|cell| cell.parse::<f64>().is_ok()) && cells().all(is_number) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Something for people, on standard error; never fails a command.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_lines_numbers_up_to_the_right() {
        let rows = [
            vec!["orders".to_owned(), "12".to_owned()],
            vec!["a-longer-name".to_owned(), "3".to_owned()],
        ];
        let text = super::table(&["topic", "partitions"], &rows);
        assert_eq!(
            text,
            "TOPIC          PARTITIONS\norders                 12\na-longer-name           3"
        );
    }
}
