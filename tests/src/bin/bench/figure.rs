//! One figure: what was measured of us and of the baseline, and the goal.

use serde_json::{Value, json};

use crate::statistics::{Pairs, Series};

/// What the ratio of ours to the baseline's should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Goal {
    fn met_by(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most:.2}"),
            Self::AtLeast(least) => format!("≥ {least:.2}"),
        }
    }
}

/// A row of the design's table of figures.
pub(crate) struct Figure {
    /// Its number there.
    pub(crate) row: u32,
    /// What it is.
    pub(crate) name: &'static str,
    /// What we do.
    pub(crate) ours: Series,
    /// What the goal compares us with.
    pub(crate) baseline: Series,
    /// For the ratio of the medians.
    pub(crate) goal: Goal,
    /// Measured in the same rounds, without a goal.
    pub(crate) beside: Vec<Series>,
    /// What one must know to read the numbers.
    pub(crate) note: String,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours.median() / self.baseline.median()
    }

    fn pairs(&self) -> Pairs {
        Pairs::of(&self.ours, &self.baseline)
    }

    fn met(&self) -> bool {
        self.goal.met_by(self.ratio())
    }

    /// As lines for a person.
    pub(crate) fn to_text(&self) -> String {
        let pairs = self.pairs();
        let mut text = format!(
            "{}. {}\n     {:.3} × the baseline, goal {}: {}   (round by round {:.3}, half of them {:.3} to {:.3})\n",
            self.row,
            self.name,
            self.ratio(),
            self.goal.words(),
            if self.met() { "met" } else { "MISSED" },
            pairs.median,
            pairs.lower_quartile,
            pairs.upper_quartile,
        );
        let roles = [("ours", &self.ours), ("baseline", &self.baseline)];
        for (role, series) in roles.into_iter().chain(self.beside.iter().map(|series| ("", series))) {
            text.push_str(&line(role, series));
        }
        text.push_str("     ");
        text.push_str(&self.note);
        text.push('\n');
        text
    }

    /// As JSON for programs.
    pub(crate) fn to_json(&self) -> Value {
        let pairs = self.pairs();
        json!({
            "row": self.row,
            "figure": self.name,
            "ours": series(&self.ours),
            "baseline": series(&self.baseline),
            "ratio": rounded(self.ratio()),
            "ratio_by_round": {
                "median": rounded(pairs.median),
                "lower_quartile": rounded(pairs.lower_quartile),
                "upper_quartile": rounded(pairs.upper_quartile),
            },
            "goal": self.goal.words(),
            "met": self.met(),
            "beside": self.beside.iter().map(series).collect::<Vec<_>>(),
            "note": self.note,
        })
    }
}

fn line(role: &str, series: &Series) -> String {
    let unit = series.unit.as_str();
    let [median, best, p95, noise] = [series.median(), series.best(), series.p95(), series.noise()].map(number);
    let rounds = series.values.len();
    format!(
        "     {role:<9}{:<48} median {median:>8} {unit:<6}  best {best:>7}  p95 {p95:>7}  noise ± {noise:>6}  {rounds} rounds\n",
        series.name
    )
}

fn series(series: &Series) -> Value {
    json!({
        "name": series.name,
        "unit": series.unit.as_str(),
        "median": rounded(series.median()),
        "best": rounded(series.best()),
        "p95": rounded(series.p95()),
        "noise": rounded(series.noise()),
        "rounds": series.values.len(),
    })
}

/// Three digits behind the point for what is small, none for what is large.
fn number(value: f64) -> String {
    if value < 1000.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_say_which_way_is_better() {
        assert!(Goal::AtMost(0.9).met_by(0.9) && !Goal::AtMost(0.9).met_by(0.91));
        assert!(Goal::AtLeast(0.8).met_by(0.8) && !Goal::AtLeast(0.8).met_by(0.79));
    }
}
