//! Drawings of a suite's curves: the numbers, which golden holds, and the SVG that the report makes of them.

use kuva::backend::svg::SvgBackend;
use kuva::plot::LinePlot;
use kuva::render::figure::Figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use preheat_suites::definition::Draw;
use preheat_suites::record::Observation;
use preheat_suites::train::gradient_bins;
use serde::{Deserialize, Serialize};

/// The folder of drawings, beside the pages that show them.
pub const FOLDER: &str = "drawings";
/// Colours from the first line to the last; neighbours are interpolated. None is so light that it is lost on white.
const RAMP: [[u8; 3]; 5] = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [62, 150, 60], [214, 120, 0]];
const CELL: (f64, f64) = (480.0, 360.0);

/// One drawing of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawing {
    /// Experiment id.
    pub experiment: String,
    /// What it shows.
    pub title: String,
    /// What x is.
    pub x: String,
    /// What y is.
    pub y: String,
    /// One an arm, in plan order.
    pub panels: Vec<Panel>,
}

/// Lines over common axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// The arm.
    pub title: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// Means over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What the legend says; empty where the panel has one line.
    pub name: String,
    /// x and y.
    pub points: Vec<[f64; 2]>,
}

impl Drawing {
    /// Where the report puts it: `drawings/suite.tier.experiment.svg`.
    pub fn path(&self, stem: &str) -> String {
        format!("{FOLDER}/{stem}.{}.svg", self.experiment)
    }
}

/// The drawings of all experiments that have one, from the claim seeds. A point that some seed lacks is left out, and so
/// is a line, a panel or a drawing of which nothing is left.
pub fn drawings(wanted: &[(String, Draw)], observations: &[&Observation]) -> Vec<Drawing> {
    let drawn = wanted.iter().map(|(experiment, draw)| {
        let own = |seen: &&&Observation| seen.experiment == *experiment && !seen.selection;
        let seen: Vec<&Observation> = observations.iter().filter(own).copied().collect();
        drawing(experiment, draw, &seen)
    });
    drawn.filter(|drawing| !drawing.panels.is_empty()).collect()
}

fn drawing(experiment: &str, draw: &Draw, seen: &[&Observation]) -> Drawing {
    let (title, x, y) = match draw {
        Draw::Lines { curve } => (format!("{experiment}: {curve}"), "step".to_string(), curve.clone()),
        Draw::Histogram { .. } => {
            (format!("{experiment}: absolute gradients"), "log2 of |gradient|".into(), "share of the nonzero".into())
        }
    };
    let mut panels: Vec<Panel> = Vec::new();
    for cell in cells(seen) {
        let lines: Vec<Line> = match draw {
            Draw::Lines { curve } => vec![Line { name: label(cell[0]), points: over_steps(&cell, curve) }],
            Draw::Histogram { steps } => steps.iter().map(|step| histogram(&cell, *step)).collect(),
        };
        let lines = lines.into_iter().filter(|line| !line.points.is_empty());
        match panels.iter_mut().find(|panel| panel.title == cell[0].arm && matches!(draw, Draw::Lines { .. })) {
            Some(panel) => panel.lines.extend(lines),
            None => {
                let name = label(cell[0]);
                let of_cell = matches!(draw, Draw::Histogram { .. }) && !name.is_empty();
                let title = if of_cell { format!("{} {name}", cell[0].arm) } else { cell[0].arm.clone() };
                panels.push(Panel { title, lines: lines.collect() });
            }
        }
    }
    panels.retain(|panel| !panel.lines.is_empty());
    Drawing { experiment: experiment.to_string(), title, x, y, panels }
}

/// Runs by cell, in plan order.
fn cells<'a>(seen: &[&'a Observation]) -> Vec<Vec<&'a Observation>> {
    let mut cells: Vec<Vec<&Observation>> = Vec::new();
    for &run in seen {
        match cells.iter_mut().find(|cell| cell[0].arm == run.arm && cell[0].axes == run.axes) {
            Some(cell) => cell.push(run),
            None => cells.push(vec![run]),
        }
    }
    cells
}

/// The cell's point of the grid: the last part of each axis and its value.
fn label(run: &Observation) -> String {
    let part = |(path, value): (&String, _)| format!("{} {value}", path.rsplit('.').next().unwrap_or_default());
    run.axes.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn over_steps(cell: &[&Observation], curve: &str) -> Vec<[f64; 2]> {
    let points = cell[0].measured.curves.get(curve).map(Vec::as_slice).unwrap_or_default();
    points.iter().filter_map(|point| Some([point.step as f64, mean_at(cell, curve, point.step)?])).collect()
}

/// A line over the bins: x is the binary logarithm of a bin's lower end.
fn histogram(cell: &[&Observation], step: u64) -> Line {
    let points = gradient_bins().filter_map(|(curve, x)| Some([x, mean_at(cell, curve, step)?])).collect();
    Line { name: format!("step {step}"), points }
}

/// The mean over seeds of a curve at a step; `None` where one has no finite value there.
fn mean_at(cell: &[&Observation], curve: &str, step: u64) -> Option<f64> {
    let value = |run: &&Observation| run.measured.curves.get(curve)?.iter().find(|point| point.step == step)?.value;
    let values: Option<Vec<f64>> = cell.iter().map(value).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

/// The drawing as SVG: all panels side by side over the same axes.
pub fn svg(drawing: &Drawing) -> String {
    let (mut plots, mut layouts) = (Vec::new(), Vec::new());
    let [x, y] = [0, 1].map(|axis| range(drawing, axis));
    for panel in &drawing.panels {
        let line = |(i, line): (usize, &Line)| {
            let points = line.points.iter().map(|[x, y]| (*x, *y));
            let plot = LinePlot::new().with_data(points).with_color(ramp(i, panel.lines.len())).with_stroke_width(1.8);
            Plot::Line(if line.name.is_empty() { plot } else { plot.with_legend(&line.name) })
        };
        let lines: Vec<Plot> = panel.lines.iter().enumerate().map(line).collect();
        let layout = Layout::auto_from_plots(&lines).with_title(&panel.title).with_x_label(&drawing.x);
        let layout = layout.with_x_axis_min(x[0]).with_x_axis_max(x[1]).with_y_axis_min(y[0]).with_y_axis_max(y[1]);
        layouts.push(layout.with_y_label(&drawing.y));
        plots.push(lines);
    }
    let figure = Figure::new(1, plots.len().max(1)).with_plots(plots).with_layouts(layouts);
    let figure = figure.with_cell_size(CELL.0, CELL.1).with_title(&drawing.title);
    renumbered(&SvgBackend::new().render_scene(&figure.render()))
}

/// The library numbers clip paths through the whole process. Here they begin at 0, so that a drawing does not depend on
/// those before it.
fn renumbered(svg: &str) -> String {
    const ID: &str = "kuva-clip-";
    let mut seen: Vec<&str> = Vec::new();
    let mut parts = svg.split(ID);
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let place = seen.iter().position(|other| *other == number).unwrap_or_else(|| {
            seen.push(number);
            seen.len() - 1
        });
        text.push_str(&format!("{ID}{place}{rest}"));
    }
    text
}

/// The ends of an axis over all panels.
fn range(drawing: &Drawing, axis: usize) -> [f64; 2] {
    let values = || drawing.panels.iter().flat_map(|p| &p.lines).flat_map(|l| &l.points).map(|point| point[axis]);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let margin = 0.03 * (high - low);
    [low - margin, high + margin]
}

/// The colour of line `i` of `n`.
pub(crate) fn ramp(i: usize, n: usize) -> String {
    let place = i as f64 / (n.max(2) - 1) as f64 * (RAMP.len() - 1) as f64;
    let below = (place as usize).min(RAMP.len() - 2);
    let share = place - below as f64;
    let mix = |c: usize| {
        let (a, b) = (f64::from(RAMP[below][c]), f64::from(RAMP[below + 1][c]));
        (a + share * (b - a)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::observed;
    use preheat_suites::record::Point;

    /// `demo`'s runs with a curve each, and bins at steps 1 and 2.
    fn seen() -> Vec<Observation> {
        let mut seen: Vec<Observation> = observed().into_iter().map(|(_, seen)| seen).collect();
        for run in &mut seen {
            let value = if run.selection { 99.0 } else { run.seed as f64 };
            let points = [10, 20].map(|step| Point { step, value: Some(value + step as f64) });
            run.measured.curves.insert("val_loss".into(), points.to_vec());
            for (curve, x) in gradient_bins() {
                let points = [1, 2].map(|step| Point { step, value: Some((value - x) * step as f64) });
                run.measured.curves.insert(curve.into(), points.to_vec());
            }
        }
        seen
    }

    fn drawn(seen: &[Observation], draw: Draw) -> Vec<Drawing> {
        drawings(&[("sweep".into(), draw)], &seen.iter().collect::<Vec<_>>())
    }

    #[test]
    fn lines_are_means_over_the_claims_seeds_a_panel_an_arm() {
        let draw = Draw::Lines { curve: "val_loss".into() };
        let found = drawn(&seen(), draw.clone());
        let titles: Vec<&str> = found[0].panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles, ["pre-ln", "post-ln"]);
        let line = Line { name: "peak_lr 0.003".into(), points: vec![[10.0, 12.0], [20.0, 22.0]] };
        assert_eq!(found[0].panels[0].lines, [line]);
        assert_eq!(found[0].path("demo.quick"), "drawings/demo.quick.sweep.svg");
        let mut broken = seen();
        for run in &mut broken {
            run.measured.curves.get_mut("val_loss").unwrap()[1].value = None;
        }
        assert_eq!(drawn(&broken, draw.clone())[0].panels[0].lines[0].points, [[10.0, 12.0]]);
        assert_eq!(drawings(&[("elsewhere".into(), draw)], &seen().iter().collect::<Vec<_>>()), []);
    }

    #[test]
    fn a_histogram_is_a_line_a_step_over_the_bins() {
        let found = drawn(&seen(), Draw::Histogram { steps: vec![1, 2, 5] });
        let lines = &found[0].panels[0].lines;
        assert_eq!(lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["step 1", "step 2"]);
        assert_eq!(lines[0].points.len(), gradient_bins().count());
        assert_eq!((lines[0].points[3], lines[1].points[3]), ([-3.0, 5.0], [-3.0, 10.0]));
        assert_eq!(found[0].panels[0].title, "pre-ln peak_lr 0.003");
    }

    #[test]
    fn the_svg_names_axes_panels_and_lines_and_is_the_same_each_time() {
        let found = drawn(&seen(), Draw::Histogram { steps: vec![1, 2] });
        let text = svg(&found[0]);
        for word in ["<svg", "absolute gradients", "log2 of", "pre-ln", "post-ln", "step 2"] {
            assert!(text.contains(word), "{word}");
        }
        assert_eq!(text, svg(&found[0]));
    }

    #[test]
    fn colours_go_from_one_end_to_the_other() {
        assert_eq!([ramp(0, 12), ramp(11, 12), ramp(0, 1)], ["#440154", "#d67800", "#440154"]);
    }
}
