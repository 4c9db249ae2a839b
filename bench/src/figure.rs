//! Figures and how they are shown: [`Figure`], [`Report`]. Each line is printed as soon as it is known.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Less is better: time, CPU, memory.
    Lower,
    /// More is better: throughput.
    Higher,
}

/// One measured line.
#[derive(Debug)]
pub struct Figure {
    /// What was measured, with its shape.
    pub name: String,
    /// Unit of the values.
    pub unit: &'static str,
    /// A value a run.
    pub values: Vec<f64>,
    /// What to reach, in the same unit.
    pub target: Option<f64>,
    /// Which way is better.
    pub better: Better,
    /// The bare loop beside it: its name and value in the same unit.
    pub yardstick: Option<(&'static str, f64)>,
    /// Kafka 4.0.0 on a machine of the same kind.
    pub kafka: &'static str,
}

impl Figure {
    /// A figure where less is better, with nothing beside it yet.
    pub fn lower(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        let name = name.into();
        Self { name, unit, values, target: None, better: Better::Lower, yardstick: None, kafka: "" }
    }

    /// A figure where more is better.
    pub fn higher(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { better: Better::Higher, ..Self::lower(name, unit, values) }
    }

    /// Sets the target.
    pub fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the bare loop beside it.
    pub fn beside(mut self, name: &'static str, value: f64) -> Self {
        self.yardstick = Some((name, value));
        self
    }

    /// Sets Kafka's figure.
    pub fn kafka(mut self, kafka: &'static str) -> Self {
        self.kafka = kafka;
        self
    }

    /// The middle value.
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    /// Measured by target where less is better, the reverse where more is: above one is missed.
    fn share(&self) -> Option<f64> {
        let target = self.target?;
        Some(match self.better {
            Better::Lower => self.median() / target,
            Better::Higher => target / self.median(),
        })
    }

    fn missed(&self) -> bool {
        self.share().is_some_and(|share| share > 1.0)
    }

    fn line(&self) -> String {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let spread = format!("{}..{}", short(low), short(high));
        let mut line = format!(
            "{:<46} {:>9} {:<9} {:<15}",
            self.name,
            short(self.median()),
            self.unit,
            spread
        );
        if let Some((target, share)) = self.target.zip(self.share()) {
            let sign = if self.better == Better::Lower { "<=" } else { ">=" };
            let verdict = if self.missed() { "MISSED" } else { "ok" };
            line += &format!(" target {sign} {:<7} {share:>5.2} {verdict:<7}", short(target));
        } else {
            line += &" ".repeat(32);
        }
        if let Some((name, value)) = self.yardstick {
            line += &format!(" {name}: {} ({:.1}x)", short(value), self.median() / value);
        }
        if !self.kafka.is_empty() {
            line += &format!("  Kafka: {}", self.kafka);
        }
        line.trim_end().to_owned()
    }
}

/// The middle of some values; zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    missed: Vec<String>,
    targets: usize,
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A heading, with what the figures under it have in common.
    pub fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// A figure.
    pub fn add(&mut self, figure: &Figure) {
        println!("  {}", figure.line());
        self.targets += usize::from(figure.target.is_some());
        if figure.missed() {
            self.missed.push(figure.name.clone());
        }
    }

    /// The closing lines: which targets were missed.
    pub fn print_missed(&self) {
        let met = self.targets - self.missed.len();
        println!("\n{met} of {} targets met", self.targets);
        for name in &self.missed {
            println!("  missed: {name}");
        }
    }
}
