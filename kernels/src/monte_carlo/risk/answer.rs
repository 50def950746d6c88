//! The answer: value at risk and expected shortfall of each model and level, what was fitted, and the history
//! it rests on. Money is in the unit of the positions, a loss is positive, and a percentage is of the gross
//! value.

use muster_spec::monte_carlo::risk::Model;
use serde::Serialize;
use std::fmt;

/// Value at risk and expected shortfall of a portfolio.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RiskAnswer {
    /// How many scenarios each model drew.
    pub scenarios: u64,
    /// Over how many trading days the losses are taken.
    pub horizon_days: u32,
    /// The sum of the absolute positions.
    pub gross_value: f64,
    /// The width of a bin of losses, in money: a value at risk is told apart no finer.
    pub resolution: f64,
    /// What the portfolio holds.
    pub positions: Vec<PositionAnswer>,
    /// The days behind the answer.
    pub history: HistoryAnswer,
    /// One entry for each model, in the order asked for.
    pub models: Vec<ModelAnswer>,
}

/// One position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionAnswer {
    /// The asset's name.
    pub asset: String,
    /// The column that its prices come from.
    pub column: String,
    /// Money; negative is short.
    pub value: f64,
}

/// The history of prices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryAnswer {
    /// The first day with a price, such as `1999-01-04`.
    pub first_day: String,
    /// The last.
    pub last_day: String,
    /// How many daily returns of each asset were used.
    pub returns: u64,
    /// How many days were left out: an empty price, or not in all files.
    pub days_left_out: u64,
    /// The day on which today's portfolio would have lost most.
    pub worst_day: String,
    /// What it would have lost on that day.
    pub worst_loss: f64,
    /// The same in percent.
    pub worst_loss_percent: f64,
}

/// The losses under one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelAnswer {
    /// Which model.
    pub model: Model,
    /// What was fitted; nothing for the bootstrap.
    pub fit: Option<FitAnswer>,
    /// The mean loss over the horizon; negative is a gain.
    pub mean_loss: f64,
    /// The least loss of any scenario.
    pub least_loss: f64,
    /// The greatest loss of any scenario.
    pub greatest_loss: f64,
    /// One entry for each level, in the order asked for.
    pub levels: Vec<LevelAnswer>,
}

/// A fitted distribution of daily log returns, told by the year of 252 days.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitAnswer {
    /// Of the Student-t distribution; nothing for the normal.
    pub degrees_of_freedom: Option<f64>,
    /// Mean log return of each asset, percent a year.
    pub mean_percent: Vec<f64>,
    /// Standard deviation of each asset's log return, percent for a year.
    pub volatility_percent: Vec<f64>,
}

/// Value at risk and expected shortfall at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelAnswer {
    /// The confidence level, such as 0.99.
    pub level: f64,
    /// The loss that is exceeded with probability `1 - level`.
    pub value_at_risk: Amount,
    /// The mean loss in the worst `1 - level` of cases.
    pub expected_shortfall: Amount,
}

/// An amount with the 95 % interval of the simulation's error, in money and in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Amount {
    /// Money.
    pub money: f64,
    /// Lower end of the interval, money.
    pub low: f64,
    /// Upper end of the interval, money.
    pub high: f64,
    /// Percent of the gross value.
    pub percent: f64,
    /// Lower end of the interval, percent.
    pub low_percent: f64,
    /// Upper end of the interval, percent.
    pub high_percent: f64,
}

impl fmt::Display for RiskAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let money = |x: f64| grouped(x, decimals(self.resolution));
        let days = plural(u64::from(self.horizon_days), "day");
        let scenarios = grouped(self.scenarios as f64, 0);
        writeln!(f, "Loss over {days}, {scenarios} scenarios of each model")?;
        let positions: Vec<String> =
            self.positions.iter().map(|p| format!("{} {}", p.asset, money(p.value))).collect();
        writeln!(f, "  portfolio  {} (gross {})", positions.join(", "), money(self.gross_value))?;
        let history = &self.history;
        let returns = grouped(history.returns as f64, 0);
        let left_out = plural(history.days_left_out, "day");
        let (first, last) = (&history.first_day, &history.last_day);
        writeln!(f, "  history    {returns} daily returns, {first} to {last}, {left_out} left out")?;
        let (loss, percent) = (money(history.worst_loss), history.worst_loss_percent);
        writeln!(f, "  worst day  {}: {loss} ({percent:.3} %)", history.worst_day)?;
        for model in &self.models {
            self.write_fit(f, model)?;
        }
        self.write_table(f)?;
        let resolution = grouped(self.resolution, decimals(self.resolution) + 2);
        write!(
            f,
            "\n\nIntervals are the 95 % error of the simulation, not of the model; losses are told apart to \
             {resolution}."
        )
    }
}

impl RiskAnswer {
    /// One line of what a model was fitted to.
    fn write_fit(&self, f: &mut fmt::Formatter<'_>, model: &ModelAnswer) -> fmt::Result {
        let Some(fit) = &model.fit else { return Ok(()) };
        write!(f, "  {:<10} ", model.model)?;
        for (i, position) in self.positions.iter().enumerate() {
            let (mean, volatility) = (fit.mean_percent[i], fit.volatility_percent[i]);
            write!(f, "{}: mean {mean:.2} %, volatility {volatility:.2} % a year; ", position.asset)?;
        }
        match fit.degrees_of_freedom {
            Some(dof) => writeln!(f, "{dof:.2} degrees of freedom"),
            None => writeln!(f, "fitted to log returns"),
        }
    }

    /// Columns as wide as their widest cell, numbers to the right.
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let money = |x: f64| grouped(x, decimals(self.resolution));
        let header = [
            "model",
            "level",
            "value at risk",
            "%",
            "95 % interval",
            "expected shortfall",
            "%",
            "95 % interval",
        ];
        let mut rows = vec![header.map(String::from)];
        for model in &self.models {
            for row in &model.levels {
                let [var, es] = [row.value_at_risk, row.expected_shortfall];
                let interval = |a: Amount| format!("{} .. {}", money(a.low), money(a.high));
                rows.push([
                    model.model.to_string(),
                    // Rounded, so that 0.99 is 99 % and 0.999 is 99.9 %.
                    format!("{} %", (row.level * 1e8).round_ties_even() / 1e6),
                    money(var.money),
                    format!("{:.3}", var.percent),
                    interval(var),
                    money(es.money),
                    format!("{:.3}", es.percent),
                    interval(es),
                ]);
            }
        }
        let mut widths = [0; 8];
        rows.iter()
            .flat_map(|row| row.iter().enumerate())
            .for_each(|(i, cell)| widths[i] = cell.len().max(widths[i]));
        for row in &rows {
            write!(f, "\n  {:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
        }
        Ok(())
    }
}

/// How many decimals tell a resolution's units apart.
fn decimals(resolution: f64) -> usize {
    let (mut digits, mut step) = (0, 1.0);
    while step > resolution && digits < 12 {
        (digits, step) = (digits + 1, step * 0.1);
    }
    digits
}

/// A number with commas between thousands.
fn grouped(x: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", x.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out =
        String::from(if x < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "-" } else { "" });
    for (i, digit) in whole.char_indices() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

fn plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n as f64, 0), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (x, decimals, want) in [
            (1234567.8, 0, "1,234,568"),
            (-999.995, 1, "-1,000.0"),
            (-0.2, 0, "0"),
            (12.0, 2, "12.00"),
            (100.0, 0, "100"),
        ] {
            assert_eq!(grouped(x, decimals), want);
        }
        assert_eq!([3.8, 0.038, 1e-30].map(decimals), [0, 2, 12]);
        assert_eq!([plural(1, "day"), plural(1000, "day")], ["1 day", "1,000 days"]);
    }

    #[test]
    fn an_answer_for_people() {
        let amount = |x: f64| Amount {
            money: x,
            low: x - 100.0,
            high: x + 99.6,
            percent: x / 1e4,
            low_percent: x / 1e4 - 0.01,
            high_percent: x / 1e4 + 0.01,
        };
        let level =
            |level, x| LevelAnswer { level, value_at_risk: amount(x), expected_shortfall: amount(2.0 * x) };
        let model = |model, fit, x| ModelAnswer {
            model,
            fit,
            mean_loss: -1.0,
            least_loss: -50_000.0,
            greatest_loss: 90_000.0,
            levels: vec![level(0.95, x), level(0.999, 2.5 * x)],
        };
        let fit = FitAnswer {
            degrees_of_freedom: Some(2.714),
            mean_percent: vec![3.5, -1.25],
            volatility_percent: vec![19.0, 25.5],
        };
        let position =
            |asset: &str, value| PositionAnswer { asset: asset.into(), column: "Close".into(), value };
        let answer = RiskAnswer {
            scenarios: 1_000_000,
            horizon_days: 10,
            gross_value: 1e6,
            resolution: 3.814_697_265_625,
            positions: vec![position("gold", 750_000.0), position("oil", -250_000.0)],
            history: HistoryAnswer {
                first_day: "1999-01-04".into(),
                last_day: "2018-12-31".into(),
                returns: 5030,
                days_left_out: 1,
                worst_day: "2008-09-29".into(),
                worst_loss: 89_746.2,
                worst_loss_percent: 8.974_62,
            },
            models: vec![model(Model::Bootstrap, None, 22_280.0), model(Model::StudentT, Some(fit), 9_500.0)],
        };
        let want = "\
Loss over 10 days, 1,000,000 scenarios of each model
  portfolio  gold 750,000, oil -250,000 (gross 1,000,000)
  history    5,030 daily returns, 1999-01-04 to 2018-12-31, 1 day left out
  worst day  2008-09-29: 89,746 (8.975 %)
  student-t  gold: mean 3.50 %, volatility 19.00 % a year; oil: mean -1.25 %, volatility 25.50 % a year; \
2.71 degrees of freedom

  model       level  value at risk      %     95 % interval  expected shortfall       %       95 % interval
  bootstrap    95 %         22,280  2.228  22,180 .. 22,380              44,560   4.456    44,460 .. 44,660
  bootstrap  99.9 %         55,700  5.570  55,600 .. 55,800             111,400  11.140  111,300 .. 111,500
  student-t    95 %          9,500  0.950    9,400 .. 9,600              19,000   1.900    18,900 .. 19,100
  student-t  99.9 %         23,750  2.375  23,650 .. 23,850              47,500   4.750    47,400 .. 47,600

Intervals are the 95 % error of the simulation, not of the model; losses are told apart to 3.81.";
        assert_eq!(answer.to_string(), want);
    }
}
