//! Consumer groups as a pure state machine: decide, then replay.
