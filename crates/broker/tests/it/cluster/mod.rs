//! Several nodes: how they come together, what one of them may lose, and who is kept out.

mod coordinators;
mod fetches;
mod full_disk;
mod growing;
mod handover;
mod lifecycle;
mod membership;
mod support;
