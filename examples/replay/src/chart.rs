//! The picture: slots and requests over the virtual time of the whole run. If most pods arrive in a
//! small part of it, a second column shows that part. Runs that are compared share each panel.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use slot_manager::Timestamp;

use crate::display;
use crate::resources::{Amounts, RESOURCES};
use crate::simulation::Outcome;
use crate::time_series::{Point, TimeSeries};
use crate::workload::Slicing;

/// The width of a picture with one column and with two columns.
const WIDTHS: [u32; 2] = [1200, 1800];
/// The height of a picture, or more if its panels would be too low.
const HEIGHT: u32 = 800;
const PANEL_HEIGHT: u32 = 260;
const USED: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const FREE: RGBColor = RGBColor(0xb7, 0xdf, 0xb0);
const ALL: RGBColor = RGBColor(0x2b, 0x2b, 0x2b);
const WAITING: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const PROMISED: RGBColor = RGBColor(0xff, 0x7f, 0x0e);
const STATIC: RGBColor = USED;
const DYNAMIC: RGBColor = PROMISED;
/// The arrivals get a column of their own if they take less than this part of the run.
const SMALL_PART: f64 = 1.0 / 3.0;
/// Used slots get a panel of their own if they would be lower than this part of all slots.
const VISIBLE: f64 = 0.1;

const NOTE_ON_ARRIVALS: &str = ", while most pods arrive";

/// The height of the labels below a panel, in pixels.
const X_LABELS: u32 = 46;
/// The height of a line of a legend, in pixels.
const LEGEND_LINE: u32 = 20;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Curves with a common scale.
struct Panel {
    axis: String,
    /// From the back to the front.
    curves: Vec<Curve>,
}

struct Curve {
    label: &'static str,
    color: RGBColor,
    style: Style,
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    /// Everything below is filled.
    Area,
    Line,
    /// A line above a faint area.
    Outline,
}

/// The time axis that all panels share.
struct TimeAxis {
    label: String,
    from: f64,
    to: f64,
    nanoseconds_per_unit: f64,
}

/// Draws used, free and all slots, promised slots and waiting requests: of the whole run, and of
/// the arrivals if they take a small part of it.
pub(crate) fn draw(path: &Path, title: &str, run: &TimeSeries, arrivals: &TimeSeries) -> Result<()> {
    draw_columns(path, title, &columns(run, arrivals)).with_context(|| format!("cannot draw {}", path.display()))
}

/// Draws runs in one picture: the used part of each resource of the cluster, and waiting requests.
pub(crate) fn draw_comparison(path: &Path, title: &str, outcomes: &[Outcome]) -> Result<()> {
    let (runs, arrivals): (Vec<_>, Vec<_>) = outcomes.iter().map(Run::of_outcome).unzip();
    draw_columns(path, title, &columns_of(&runs, &arrivals)).with_context(|| format!("cannot draw {}", path.display()))
}

fn columns(run: &TimeSeries, arrivals: &TimeSeries) -> Vec<Column> {
    let mut columns = vec![Column::new(run, "")];
    if has_column_for_arrivals(run, arrivals) {
        columns.push(Column::new(arrivals, NOTE_ON_ARRIVALS));
    }
    columns
}

fn columns_of(runs: &[Run<'_>], arrivals: &[Run<'_>]) -> Vec<Column> {
    let mut columns = vec![Column::of_comparison(runs, "")];
    if has_column_for_arrivals(longest(runs), longest(arrivals)) {
        columns.push(Column::of_comparison(arrivals, NOTE_ON_ARRIVALS));
    }
    columns
}

fn has_column_for_arrivals(run: &TimeSeries, arrivals: &TimeSeries) -> bool {
    let is_small = arrivals.length().as_secs_f64() < SMALL_PART * run.length().as_secs_f64();
    is_small && !arrivals.length().is_zero()
}

/// Returns the longest series.
fn longest<'a>(runs: &[Run<'a>]) -> &'a TimeSeries {
    let longest = runs.iter().max_by_key(|run| run.series.length());
    longest.expect("there are runs to compare").series
}

/// One of the runs that are compared.
struct Run<'a> {
    slicing: Slicing,
    series: &'a TimeSeries,
    cluster: Amounts,
}

impl<'a> Run<'a> {
    /// Returns the whole run, and the part of it while most pods arrive.
    fn of_outcome(outcome: &'a Outcome) -> (Self, Self) {
        let run = |series| Self {
            slicing: outcome.slicing,
            series,
            cluster: outcome.cluster,
        };
        (run(&outcome.series), run(&outcome.arrivals))
    }
}

/// Panels with a common time axis.
struct Column {
    axis: TimeAxis,
    panels: Vec<Panel>,
}

impl Column {
    fn new(series: &TimeSeries, note: &str) -> Self {
        let axis = TimeAxis::new(series, note);
        Self {
            panels: panels(series, &axis),
            axis,
        }
    }

    fn of_comparison(runs: &[Run<'_>], note: &str) -> Self {
        let axis = TimeAxis::new(longest(runs), note);
        Self {
            panels: panels_of_comparison(runs, &axis),
            axis,
        }
    }
}

fn panels(series: &TimeSeries, axis: &TimeAxis) -> Vec<Panel> {
    let curve =
        |label, color, style, value: &dyn Fn(&Point) -> f64| Curve::new(series, axis, label, color, style, value);
    let used = |style| curve("used slots", USED, style, &|point| point.mean_used);
    // Drawn behind the used slots, so that the free ones are stacked on them.
    let free = curve("free slots", FREE, Style::Area, &|point| point.mean_all);
    let all = curve("all slots (used + free)", ALL, Style::Line, &|point| point.mean_all);
    let promised = curve("promised slots", PROMISED, Style::Outline, &|point| {
        point.peak_promised as f64
    });
    let waiting = curve("waiting requests", WAITING, Style::Outline, &|point| {
        point.peak_waiting as f64
    });

    let of_interval = |kind: &str| format!("{kind} of {}", display::duration(series.interval()));
    let is_visible = used(Style::Area).top() >= VISIBLE * all.top();
    let mut panels = vec![Panel {
        axis: format!("slots ({})", of_interval("mean")),
        curves: vec![free, used(Style::Area), all],
    }];
    if !is_visible {
        panels.push(Panel {
            axis: format!("slots ({})", of_interval("mean")),
            curves: vec![used(Style::Outline)],
        });
    }
    panels.push(Panel {
        axis: format!("slots, requests ({})", of_interval("peak")),
        curves: vec![promised, waiting],
    });
    panels
}

/// Returns a panel for the used part of each resource that the cluster has, and one for the waiting
/// requests. Each has a curve for each run.
fn panels_of_comparison(runs: &[Run<'_>], axis: &TimeAxis) -> Vec<Panel> {
    let interval = display::duration(longest(runs).interval());
    let curves = |style, value: &dyn Fn(&Run<'_>, &Point) -> f64| {
        let curve = |run: &Run<'_>| {
            let color = match run.slicing {
                Slicing::Static => STATIC,
                Slicing::Dynamic => DYNAMIC,
            };
            Curve::new(run.series, axis, run.slicing.name(), color, style, &|point| {
                value(run, point)
            })
        };
        runs.iter().map(curve).collect::<Vec<_>>()
    };
    let resources = RESOURCES.iter().enumerate();
    let mut panels: Vec<_> = resources
        .filter(|(resource, _)| runs.iter().any(|run| run.cluster.0[*resource] > 0))
        .map(|(resource, name)| Panel {
            axis: format!("% of {name} used (mean of {interval})"),
            curves: curves(Style::Line, &|run, point| {
                100.0 * point.mean_granted[resource] / run.cluster.0[resource].max(1) as f64
            }),
        })
        .collect();
    panels.push(Panel {
        axis: format!("waiting requests (peak of {interval})"),
        curves: curves(Style::Outline, &|_, point| point.peak_waiting as f64),
    });
    panels
}

fn draw_columns(path: &Path, title: &str, columns: &[Column]) -> Result<()> {
    let width = WIDTHS[columns.len() - 1];
    let panels = columns.iter().map(|column| column.panels.len() as u32).max();
    let height = HEIGHT.max(panels.unwrap_or_default() * PANEL_HEIGHT);
    let area = SVGBackend::new(path, (width, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let body = area.titled(title, ("sans-serif", 20))?;
    for (part, column) in body.split_evenly((1, columns.len())).iter().zip(columns) {
        for (part, panel) in part.split_evenly((column.panels.len(), 1)).iter().zip(&column.panels) {
            panel.draw(part, &column.axis)?;
        }
    }
    area.present()?;
    Ok(())
}

impl Panel {
    fn draw(&self, area: &Area<'_>, axis: &TimeAxis) -> Result<()> {
        // A scale in whole numbers, with room for the legend above the curves.
        let legend = f64::from(LEGEND_LINE) * (self.curves.len() + 1) as f64;
        let plot = f64::from(area.dim_in_pixel().1.saturating_sub(X_LABELS));
        let top = self.curves.iter().map(Curve::top).fold(4.0, f64::max) / (1.0 - (legend / plot).min(0.5));
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(24)
            .set_label_area_size(LabelAreaPosition::Left, 80)
            .set_label_area_size(LabelAreaPosition::Bottom, X_LABELS)
            .build_cartesian_2d(axis.from..axis.to, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_labels(12)
            .y_labels(6)
            .x_label_formatter(&|time| format!("{time}"))
            .y_label_formatter(&|number| display::count(number.round() as u64))
            .x_desc(&axis.label)
            .y_desc(&self.axis)
            .draw()?;
        for curve in &self.curves {
            let (points, color) = (|| curve.points.iter().copied(), curve.color);
            let opacity = match curve.style {
                Style::Area => 1.0,
                Style::Outline => 0.15,
                Style::Line => 0.0,
            };
            let is_area = curve.style == Style::Area;
            if curve.style != Style::Line {
                let area = chart.draw_series(AreaSeries::new(points(), 0.0, color.mix(opacity)))?;
                if is_area {
                    area.label(curve.label)
                        .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 24, y + 5)], color.filled()));
                }
            }
            if !is_area {
                chart
                    .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
                    .label(curve.label)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .legend_area_size(34)
            .draw()?;
        Ok(())
    }
}

impl Curve {
    fn new(
        series: &TimeSeries,
        axis: &TimeAxis,
        label: &'static str,
        color: RGBColor,
        style: Style,
        value: &dyn Fn(&Point) -> f64,
    ) -> Self {
        // Each value holds for its whole interval.
        let step = |point: Point| [(point.from, value(&point)), (point.to, value(&point))];
        let points = series.points().flat_map(step);
        Self {
            label,
            color,
            style,
            points: points.map(|(at, value)| (axis.in_units(at), value)).collect(),
        }
    }

    fn top(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }
}

impl TimeAxis {
    fn new(series: &TimeSeries, note: &str) -> Self {
        let shown = series.length().as_secs_f64();
        let (unit, seconds_per_unit) = match shown {
            _ if shown > 3.0 * 86_400.0 => ("days", 86_400.0),
            _ if shown > 3.0 * 3_600.0 => ("hours", 3_600.0),
            _ if shown > 180.0 => ("minutes", 60.0),
            _ => ("seconds", 1.0),
        };
        let nanoseconds_per_unit = seconds_per_unit * 1e9;
        let in_units = |at: Timestamp| at.as_nanos() as f64 / nanoseconds_per_unit;
        Self {
            label: format!("virtual time ({unit}){note}"),
            from: in_units(series.from()),
            // An axis needs some length, also for a run without duration.
            to: in_units(series.to()).max(in_units(series.from()) + 1e-9),
            nanoseconds_per_unit,
        }
    }

    fn in_units(&self, at: Timestamp) -> f64 {
        at.as_nanos() as f64 / self.nanoseconds_per_unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::Sample;
    use crate::workload::{Pod, Size};

    fn series(used: usize, all: usize) -> TimeSeries {
        let mut series = TimeSeries::of_run();
        let sample = Sample {
            used,
            all,
            ..Sample::default()
        };
        series.record(Timestamp::ZERO, sample);
        series.finish(Timestamp::from_secs(7_200));
        series
    }

    fn panels_of(used: usize, all: usize) -> Vec<Panel> {
        Column::new(&series(used, all), "").panels
    }

    #[test]
    fn used_slots_have_a_panel_of_their_own_if_they_could_hardly_be_seen() {
        assert_eq!(panels_of(50, 100).len(), 2);
        assert_eq!(panels_of(0, 0).len(), 2);
        assert_eq!(panels_of(100, 100).len(), 2);
        assert_eq!(panels_of(5, 100).len(), 3);
    }

    #[test]
    fn free_slots_are_stacked_on_used_ones_up_to_all_slots_from_the_beginning_to_the_end() {
        let panels = panels_of(40, 100);
        let tops: Vec<_> = panels[0]
            .curves
            .iter()
            .map(|curve| (curve.label, curve.top()))
            .collect();
        assert_eq!(
            tops,
            [
                ("free slots", 100.0),
                ("used slots", 40.0),
                ("all slots (used + free)", 100.0)
            ]
        );
        for curve in panels.iter().flat_map(|panel| &panel.curves) {
            assert_eq!(curve.points[0].0, 0.0);
            assert_eq!(curve.points[curve.points.len() - 1].0, 120.0);
        }
    }

    #[test]
    fn arrivals_have_a_column_of_their_own_if_they_take_a_small_part_of_the_run() {
        for (seconds_of_arrivals, columns_drawn) in [(0, 1), (1_000, 2), (3_000, 1)] {
            let size = Size {
                cpu_milli: 1,
                memory_mib: 1,
                gpus: 0,
                gpu_milli: 0,
            };
            let pod = |created| Pod::new("pod".to_owned(), size, created, 7_200).unwrap();
            let mut arrivals = TimeSeries::of_arrivals(&[pod(0), pod(seconds_of_arrivals)]);
            arrivals.finish(Timestamp::from_secs(7_200));
            let columns = columns(&series(50, 100), &arrivals);
            assert_eq!(columns.len(), columns_drawn, "{seconds_of_arrivals}");
            assert_eq!(columns[0].axis.to, 120.0);
        }
    }

    #[test]
    fn compared_runs_share_a_panel_for_each_resource_of_the_cluster_and_for_waiting_requests() {
        let run_of = |slicing, granted, seconds| {
            let mut series = TimeSeries::of_run();
            let sample = Sample {
                granted: Amounts([granted, 0, 0]),
                waiting: 7,
                ..Sample::default()
            };
            series.record(Timestamp::ZERO, sample);
            series.finish(Timestamp::from_secs(seconds));
            (slicing, series)
        };
        let series = [run_of(Slicing::Static, 20, 3_600), run_of(Slicing::Dynamic, 50, 7_200)];
        let mut runs = Vec::new();
        for (slicing, series) in &series {
            runs.push(Run {
                slicing: *slicing,
                series,
                cluster: Amounts([100, 100, 0]),
            });
        }
        let columns = columns_of(&runs, &runs);
        assert_eq!((columns.len(), columns[0].axis.to), (1, 120.0));
        let tops: Vec<_> = columns[0]
            .panels
            .iter()
            .map(|panel| {
                (
                    panel.axis.split(" (").next().unwrap(),
                    panel.curves.iter().map(Curve::top).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            tops,
            [
                ("% of cpu used", vec![20.0, 50.0]),
                ("% of memory used", vec![0.0, 0.0]),
                ("waiting requests", vec![7.0, 7.0])
            ]
        );
        let labels: Vec<_> = columns[0].panels[0].curves.iter().map(|curve| curve.label).collect();
        assert_eq!(labels, ["static slots", "dynamic slots"]);
    }

    #[test]
    fn the_picture_has_a_title_axes_with_units_and_a_legend() {
        let path = std::env::temp_dir().join(format!("slot-manager-replay-{}.svg", std::process::id()));
        draw(&path, "a title", &series(5, 100), &series(5, 100)).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for text in [
            "a title",
            "virtual time (minutes)",
            "slots (mean of 16.0 s)",
            "slots, requests (peak of 16.0 s)",
            "used slots",
            "waiting requests",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(picture.len() < 200_000);
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_an_error() {
        let error = draw(
            Path::new("no such directory/replay.svg"),
            "",
            &series(1, 1),
            &series(1, 1),
        )
        .unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot draw no such directory/replay.svg: "),
            "{error:#}"
        );
    }
}
