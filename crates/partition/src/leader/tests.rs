//! What a leader makes of fetches, answers and metadata.
