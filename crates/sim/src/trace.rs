//! What happened in a run: a hash always, the text on demand.
//!
//! Key type: [`Trace`]. The hash runs over the numbers of every step, so two runs of one seed that differ anywhere
//! end with different hashes.

/// The most lines that are kept: those before a failure matter.
const MAX_LINES: usize = 4000;

/// The story of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    verbose: bool,
    lines: std::collections::VecDeque<String>,
}

impl Trace {
    /// With the text, or with the hash alone.
    pub const fn new(verbose: bool) -> Self {
        let lines = std::collections::VecDeque::new();
        Self { hash: 0xCBF2_9CE4_8422_2325, steps: 0, verbose, lines }
    }

    /// Notes a step: its numbers go into the hash, `text` into the story.
    pub fn note(&mut self, now_us: u64, numbers: &[u64], text: impl FnOnce() -> String) {
        self.steps += 1;
        self.mix(now_us);
        for &number in numbers {
            self.mix(number);
        }
        if self.verbose {
            if self.lines.len() == MAX_LINES {
                self.lines.pop_front();
            }
            let line = format!("{:>10.3} ms  {}", now_us as f64 / 1000.0, text());
            self.lines.push_back(line);
        }
    }

    const fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01B3);
        self.hash ^= self.hash >> 29;
    }

    /// The hash of all steps so far.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many steps there were.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The last lines of the story.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
