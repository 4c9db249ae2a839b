//! Tests of the coordinator: a table of single steps, and a model with random producers and restarts.

mod lab;
mod model;
mod record;
mod steps;
