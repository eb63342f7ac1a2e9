//! What a row of measurements says: its middle, its tail, and how noisy it is.

/// What a value is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Answers in a second.
    PerSecond,
    /// Microseconds of a processor, for one answer.
    ProcessorMicroseconds,
}

impl Unit {
    /// As it is written behind a number.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::PerSecond => "/s",
            Self::ProcessorMicroseconds => "µs CPU",
        }
    }
}

/// What was measured of one contender, one value a round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Who was measured.
    pub(crate) name: String,
    /// What the values are in.
    pub(crate) unit: Unit,
    /// In the order of the rounds.
    pub(crate) values: Vec<f64>,
}

impl Series {
    /// The middle value.
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.values, 0.5)
    }

    /// 95 of 100 rounds were below it.
    pub(crate) fn p95(&self) -> f64 {
        quantile(&self.values, 0.95)
    }

    /// The best round: what the machine can do when nobody else is at it.
    pub(crate) fn best(&self) -> f64 {
        let best = if self.unit == Unit::PerSecond { f64::max } else { f64::min };
        self.values.iter().copied().reduce(best).unwrap_or(f64::NAN)
    }

    /// The noise: the median of the distances from the median.
    pub(crate) fn noise(&self) -> f64 {
        let median = self.median();
        let distances: Vec<f64> = self.values.iter().map(|value| (value - median).abs()).collect();
        quantile(&distances, 0.5)
    }
}

/// The ratios of two series, round by round: what disturbs both sides of a round cancels out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pairs {
    /// The middle ratio.
    pub(crate) median: f64,
    /// A quarter of the rounds was below it.
    pub(crate) lower_quartile: f64,
    /// A quarter of the rounds was above it.
    pub(crate) upper_quartile: f64,
}

impl Pairs {
    /// `ours` over `baseline`.
    pub(crate) fn of(ours: &Series, baseline: &Series) -> Self {
        let ratios: Vec<f64> = ours.values.iter().zip(&baseline.values).map(|(ours, theirs)| ours / theirs).collect();
        Self {
            median: quantile(&ratios, 0.5),
            lower_quartile: quantile(&ratios, 0.25),
            upper_quartile: quantile(&ratios, 0.75),
        }
    }
}

/// The value below which that share of the values is, interpolated between neighbours.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand values, and a share between 0 and 1"
)]
fn quantile(values: &[f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series { name: String::new(), unit: Unit::Milliseconds, values: values.to_vec() }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these sums are exact")]
    fn middle_tail_and_noise() {
        let odd = series(&[9.0, 1.0, 2.0, 3.0, 100.0]);
        assert_eq!((odd.best(), odd.median(), odd.noise()), (1.0, 3.0, 2.0));
        assert_eq!(series(&[1.0, 2.0]).median(), 1.5);
        let hundred_and_one: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(series(&hundred_and_one).p95(), 95.0);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was ten times slower in the second half; every round still says one half.
        let pairs = Pairs::of(&series(&[1.0, 1.0, 10.0, 10.0]), &series(&[2.0, 2.0, 20.0, 20.0]));
        assert_eq!(pairs, Pairs { median: 0.5, lower_quartile: 0.5, upper_quartile: 0.5 });
    }
}
