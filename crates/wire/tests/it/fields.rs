//! What a version cannot carry: refused, or dropped where the table says so.
