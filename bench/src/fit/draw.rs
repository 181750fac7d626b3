//! A table's fits drawn as SVG: for each group its isoFLOP curves with their optima, and the law through them with its
//! 95 % band. Dark on a light ground, logarithmic axes.

use super::outcome::{Fit, Outcome, name};
use crate::drawing::ramp;
use kuva::backend::svg::SvgBackend;
use kuva::plot::scatter::MarkerShape;
use kuva::plot::{LinePlot, ScatterPlot};
use kuva::render::figure::Figure;
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use preheat_suites::fits::curve::budgets;
use preheat_suites::fits::isoflop::{Laws, drawn};

const LAW: &str = "#b2182b";
const OPTIMUM: &str = "#000000";
const CELL: (f64, f64) = (620.0, 440.0);
/// Points of a drawn law.
const LAW_POINTS: u32 = 40;

/// The drawing of every group that has a law.
pub fn svg(outcome: &Outcome) -> String {
    let fits: Vec<(&Fit, &Laws)> = outcome.fits.iter().filter_map(|fit| Some((fit, fit.laws.as_ref()?))).collect();
    let (mut plots, mut layouts) = (Vec::new(), Vec::new());
    for (fit, laws) in &fits {
        for (panel, layout) in [curves(fit), law(fit, laws)] {
            plots.push(panel);
            layouts.push(layout);
        }
    }
    let figure = Figure::new(fits.len().max(1), 2)
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(CELL.0, CELL.1)
        .with_title(format!("Compute-optimal fits of {}", outcome.file));
    SvgBackend::new().render_scene(&figure.render())
}

/// Loss over parameters, one curve a budget.
fn curves(fit: &Fit) -> (Vec<Plot>, Layout) {
    let by_budget = budgets(&fit.points);
    let mut plots = Vec::new();
    for (i, (flops, points)) in by_budget.iter().enumerate() {
        let colour = ramp(i, by_budget.len());
        let line = LinePlot::new().with_data(drawn(points).into_iter().map(|[n, loss]| (n, loss)));
        plots.push(Plot::Line(line.with_color(&colour).with_stroke_width(1.5).with_legend(format!("{flops:.2e}"))));
        let places = points.iter().map(|p| (p.params, p.loss));
        plots.push(Plot::Scatter(ScatterPlot::new().with_data(places).with_color(&colour).with_size(2.5)));
    }
    let optima = fit.budgets.iter().filter_map(|b| Some((b.params?, b.loss?)));
    let optima = ScatterPlot::new().with_data(optima).with_color(OPTIMUM).with_marker(MarkerShape::Star).with_size(6.0);
    plots.push(Plot::Scatter(optima.with_legend("optimum")));
    let losses = || fit.points.iter().map(|p| p.loss);
    let (least, most) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let layout = Layout::auto_from_plots(&plots).with_log_scale().with_title(name(&fit.group));
    // Whole decades would leave most of the panel empty.
    let layout = layout.with_y_axis_min(0.97 * least).with_y_axis_max(1.03 * most);
    let layout = layout.with_x_label(format!("parameters ({})", fit.convention)).with_y_label("loss, nats/token");
    (plots, layout.with_x_tick_format(TickFormat::Sci).with_legend_title("FLOPs"))
}

/// Optimal parameters over compute: optima, law, band.
fn law(fit: &Fit, laws: &Laws) -> (Vec<Plot>, Layout) {
    let used: Vec<(f64, f64)> = fit.budgets.iter().filter_map(|b| Some((b.flops, b.params?))).collect();
    let ends = fit.budgets.first().zip(fit.budgets.last()).map_or([1.0, 2.0], |(a, b)| [a.flops, b.flops]);
    let at = |i: u32| {
        let share = f64::from(i) / f64::from(LAW_POINTS);
        libm::exp(libm::log(ends[0]) + share * (libm::log(ends[1]) - libm::log(ends[0])))
    };
    let places: Vec<f64> = (0..=LAW_POINTS).map(at).collect();
    let band: Vec<[f64; 2]> = places.iter().map(|flops| laws.params.interval_at(*flops)).collect();
    let [low, high] = laws.params.interval;
    let line = LinePlot::new()
        .with_data(places.iter().map(|flops| (*flops, laws.params.at(*flops))))
        .with_band(band.iter().map(|b| b[0]), band.iter().map(|b| b[1]))
        .with_color(LAW)
        .with_stroke_width(2.0)
        .with_legend(format!("exponent {:.3}", laws.params.exponent));
    let optima = ScatterPlot::new().with_data(used).with_color(OPTIMUM).with_marker(MarkerShape::Star).with_size(6.0);
    let plots = vec![Plot::Line(line), Plot::Scatter(optima.with_legend("optimum"))];
    let layout = Layout::auto_from_plots(&plots).with_log_scale().with_title(format!("95 %: {low:.3} to {high:.3}"));
    let layout = layout.with_x_label("compute, FLOPs").with_y_label(format!("optimal parameters ({})", fit.convention));
    (plots, layout.with_tick_format(TickFormat::Sci))
}
