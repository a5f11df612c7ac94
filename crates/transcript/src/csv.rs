//! The `csv` format: RFC 4180 with a header, one row a message, safe to open in a spreadsheet.

use duologue_model::{Conversation, Message, User};

use crate::{
    Error,
    cast::Cast,
    plain,
    render::{Line, Put, Renderer},
};

/// The columns.
pub(crate) const HEADER: &str = "conversationId,messageId,createdAt,direction,author,type,text,payload,tags\r\n";

pub(crate) struct Csv;

impl Renderer for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.put(HEADER);
    }

    fn conversation(&mut self, _: &Conversation, _: &[&User], _: &Cast, _: bool, _: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let Message { id, conversation_id, created_at, direction, kind, payload, tags, .. } = line.message;
        let text = plain::readable_picked(line.message, line.picked);
        let cells = [
            conversation_id.as_str(),
            id.as_str(),
            &created_at.to_string(),
            direction.name(),
            &line.author.name,
            kind,
            &text,
            payload.text(),
            &tags.text(),
        ];
        for (at, cell) in cells.into_iter().enumerate() {
            if at > 0 {
                out.put(",");
            }
            put_cell(cell, out);
        }
        out.put("\r\n");
        Ok(())
    }
}

/// A cell, quoted where it has to be. A leading apostrophe keeps a spreadsheet from taking it for a
/// formula.
fn put_cell(cell: &str, out: &mut Vec<u8>) {
    let guard = if is_formula(cell) { "'" } else { "" };
    if !cell.contains([',', '"', '\n', '\r', ';', '\t']) && guard.is_empty() && cell.trim().len() == cell.len() {
        out.put(cell);
        return;
    }
    out.put("\"");
    out.put(guard);
    for (at, part) in cell.split('"').enumerate() {
        if at > 0 {
            out.put("\"\"");
        }
        out.put(part);
    }
    out.put("\"");
}

/// Whether a spreadsheet might compute the cell: it starts with a formula's first character, its
/// full-width form, or white space that some programs strip before they look.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['\t', '\r', '\n']) || cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}
