//! The table: for each figure a block, with a plant in each column and a controller in each line, as one compares them.

use super::Row;
use super::score::Score;
use std::io::{self, Write};

/// Columns in a block; more plants go below.
const COLUMNS: usize = 18;

/// A figure of the table.
struct Figure {
    title: &'static str,
    of: fn(&Score) -> f64,
    decimals: usize,
    summary: Summary,
}

/// What stands at the end of a line: geometric mean and least, the most, or the sum.
#[derive(Clone, Copy, PartialEq)]
enum Summary {
    MeanAndLeast,
    Most,
    Sum,
}

const FIGURES: [Figure; 4] = [
    Figure {
        title: "steady, % of the oracle",
        of: |score| score.steady_percent,
        decimals: 1,
        summary: Summary::MeanAndLeast,
    },
    Figure {
        title: "seconds to 95 % of the oracle",
        of: |score| score.t95_s,
        decimals: 0,
        summary: Summary::Most,
    },
    Figure {
        title: "throttled, % of the documents sent",
        of: |score| score.throttled_percent,
        decimals: 2,
        summary: Summary::Most,
    },
    Figure {
        title: "oscillation, % of the mean",
        of: |score| score.oscillation_percent,
        decimals: 1,
        summary: Summary::Most,
    },
];

const SECONDS_OVER: Figure = Figure {
    title: "seconds above the ceilings of memory, GPU memory and CPU",
    of: |score| score.ram_over_s + score.gpu_over_s + score.cpu_over_s,
    decimals: 0,
    summary: Summary::Sum,
};

/// Prints all of it.
pub(super) fn print(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let plants = distinct(rows.iter().map(|row| row.plant.as_str()));
    let controllers = distinct(rows.iter().map(|row| row.controller.as_str()));
    for figure in FIGURES.iter().chain([&SECONDS_OVER]) {
        for (index, part) in plants.chunks(COLUMNS).enumerate() {
            let is_last = (index + 1) * COLUMNS >= plants.len();
            block(rows, figure, part, &controllers, is_last, out)?;
        }
    }
    writeln!(out, "gmean, worst and sum are over all plants; 300 s are never.")
}

fn block(
    rows: &[Row],
    figure: &Figure,
    plants: &[&str],
    controllers: &[&str],
    is_last: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let names = controllers.iter().map(|name| name.len()).max().unwrap_or(0);
    write!(out, "{}\n{:names$}", figure.title, "")?;
    let width = plants.iter().map(|plant| plant.chars().count()).fold(6, usize::max);
    plants.iter().try_for_each(|plant| write!(out, " {plant:>width$}"))?;
    let heads: &[&str] = match figure.summary {
        _ if !is_last => &[],
        Summary::MeanAndLeast => &["gmean", "worst"],
        Summary::Most => &["worst"],
        Summary::Sum => &["sum"],
    };
    heads.iter().try_for_each(|head| write!(out, " {head:>6}"))?;
    writeln!(out)?;
    for controller in controllers {
        write!(out, "{controller:names$}")?;
        let of = |row: &&Row| row.controller == *controller;
        for plant in plants {
            match rows.iter().filter(of).find(|row| row.plant == *plant) {
                Some(row) => write!(out, " {:width$.*}", figure.decimals, (figure.of)(&row.score))?,
                None => write!(out, " {:>width$}", "-")?,
            }
        }
        if is_last {
            let all: Vec<f64> = rows.iter().filter(of).map(|row| (figure.of)(&row.score)).collect();
            for value in summary(figure.summary, &all) {
                write!(out, " {value:6.*}", figure.decimals)?;
            }
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn summary(summary: Summary, all: &[f64]) -> Vec<f64> {
    match summary {
        Summary::MeanAndLeast => vec![geometric_mean(all), all.iter().copied().fold(f64::INFINITY, f64::min)],
        Summary::Most => vec![all.iter().copied().fold(0.0, f64::max)],
        Summary::Sum => vec![all.iter().sum()],
    }
}

/// A tenth of a per cent at least, so that a run that wrote nothing leaves a figure to be read.
pub fn geometric_mean(all: &[f64]) -> f64 {
    (all.iter().map(|value| value.max(0.1).ln()).sum::<f64>() / all.len().max(1) as f64).exp()
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_for_each_figure() {
        let row = |plant: &str, controller: &str, steady_percent| Row {
            plant: plant.into(),
            controller: controller.into(),
            score: Score { steady_percent, t95_s: 12.0, cpu_over_s: 5.0, fairness: 1.0, ..Score::default() },
        };
        let rows = [row("A", "docferry", 100.0), row("B", "docferry", 81.0), row("A", "fixed", 25.0)];
        let mut out = Vec::new();
        print(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let blocks: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(blocks.len(), 6, "{text}");
        assert_eq!(
            blocks[0],
            "steady, % of the oracle\n              A      B  gmean  worst\ndocferry  100.0   81.0   90.0   81.0\nfixed      25.0      -   25.0   25.0"
        );
        assert!(
            blocks[4].ends_with("docferry      5      5     10\nfixed         5      -      5"),
            "{text}"
        );
    }

    #[test]
    fn many_plants_go_below_each_other_and_the_summary_stands_at_the_end() {
        let row = |number: usize| Row {
            plant: format!("r{number}"),
            controller: "docferry".into(),
            score: Score { steady_percent: 100.0, ..Score::default() },
        };
        let rows: Vec<Row> = (1..=20).map(row).collect();
        let mut out = Vec::new();
        print(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("r19    r20  gmean  worst"), "{text}");
        assert!(text.contains("r17    r18\n"), "{text}");
    }
}
