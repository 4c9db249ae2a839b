//! Every setting declared once: name, type, default, bounds, scope, doc.
