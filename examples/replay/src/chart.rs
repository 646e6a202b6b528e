//! The picture: slots and requests over virtual time.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use slot_manager::Timestamp;

use crate::display;
use crate::time_series::{Bin, TimeSeries};

const SIZE: (u32, u32) = (1200, 800);
const USED: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const FREE: RGBColor = RGBColor(0x2c, 0xa0, 0x2c);
const WAITING: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const PROMISED: RGBColor = RGBColor(0xff, 0x7f, 0x0e);
/// Curves share a panel only if the lower is at least this part of the higher.
const COMPARABLE: f64 = 0.1;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Curves with a common scale.
struct Panel {
    axis: &'static str,
    curves: Vec<Curve>,
}

struct Curve {
    label: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The time axis that all panels share.
struct TimeAxis {
    label: String,
    from: f64,
    to: f64,
    nanoseconds_per_unit: f64,
}

/// Draws used, free and promised slots and waiting requests.
pub(crate) fn draw(path: &Path, title: &str, series: &TimeSeries) -> Result<()> {
    let axis = TimeAxis::new(series);
    let panels = panels(series, &axis);
    draw_panels(path, title, &panels, &axis).with_context(|| format!("cannot draw {}", path.display()))
}

fn panels(series: &TimeSeries, axis: &TimeAxis) -> Vec<Panel> {
    let curve = |label, color, value: &dyn Fn(&Bin) -> f64| Curve {
        label,
        color,
        points: series
            .bins()
            .map(|(at, bin)| (at.as_nanos() as f64 / axis.nanoseconds_per_unit, value(bin)))
            .collect(),
    };
    let used = curve("used slots (mean)", USED, &|bin| series.means(bin).0);
    let free = curve("free slots (mean)", FREE, &|bin| series.means(bin).1);
    let promised = curve("promised slots (peak)", PROMISED, &|bin| bin.peak_promised as f64);
    let waiting = curve("waiting requests (peak)", WAITING, &|bin| bin.peak_waiting as f64);

    let slots = |curves| Panel { axis: "slots", curves };
    let (lower, higher) = (used.top().min(free.top()), used.top().max(free.top()));
    let mut panels = if lower >= COMPARABLE * higher {
        vec![slots(vec![free, used])]
    } else {
        vec![slots(vec![free]), slots(vec![used])]
    };
    panels.push(Panel {
        axis: "requests, slots",
        curves: vec![promised, waiting],
    });
    panels
}

fn draw_panels(path: &Path, title: &str, panels: &[Panel], axis: &TimeAxis) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let body = area.titled(title, ("sans-serif", 20))?;
    for (part, panel) in body.split_evenly((panels.len(), 1)).iter().zip(panels) {
        panel.draw(part, axis)?;
    }
    area.present()?;
    Ok(())
}

impl Panel {
    fn draw(&self, area: &Area<'_>, axis: &TimeAxis) -> Result<()> {
        // Leaves room for the legend above the curves, and for a scale in whole numbers.
        let top = self.curves.iter().map(Curve::top).fold(4.0, f64::max) * 1.25;
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(24)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .set_label_area_size(LabelAreaPosition::Bottom, 46)
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
            .y_desc(self.axis)
            .draw()?;
        for curve in &self.curves {
            let (points, color) = (|| curve.points.iter().copied(), curve.color);
            chart.draw_series(AreaSeries::new(points(), 0.0, color.mix(0.15)))?;
            chart
                .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
                .label(curve.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
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
    fn top(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }
}

impl TimeAxis {
    fn new(series: &TimeSeries) -> Self {
        let shown = (series.to() - series.from).as_secs_f64();
        let (unit, seconds_per_unit) = match shown {
            _ if shown > 3.0 * 86_400.0 => ("days", 86_400.0),
            _ if shown > 3.0 * 3_600.0 => ("hours", 3_600.0),
            _ if shown > 180.0 => ("minutes", 60.0),
            _ => ("seconds", 1.0),
        };
        let nanoseconds_per_unit = seconds_per_unit * 1e9;
        let in_units = |at: Timestamp| at.as_nanos() as f64 / nanoseconds_per_unit;
        let left_out = if series.from > Timestamp::ZERO {
            "; the first few pods come long before"
        } else {
            ""
        };
        Self {
            label: format!("virtual time ({unit}{left_out})"),
            from: in_units(series.from),
            to: in_units(series.to()),
            nanoseconds_per_unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::Sample;

    fn series(used: usize, free: usize) -> TimeSeries {
        let mut series = TimeSeries::of_window(Timestamp::ZERO, Timestamp::from_secs(7_200));
        series.record(
            Timestamp::ZERO,
            Sample {
                used,
                free,
                ..Sample::default()
            },
        );
        series.finish(Timestamp::from_secs(7_200));
        series
    }

    #[test]
    fn curves_of_very_different_heights_have_panels_of_their_own() {
        let panels = |used, free| {
            let series = series(used, free);
            panels(&series, &TimeAxis::new(&series)).len()
        };
        assert_eq!(panels(50, 100), 2);
        assert_eq!(panels(0, 0), 2);
        assert_eq!(panels(5, 100), 3);
        assert_eq!(panels(100, 0), 3);
    }

    #[test]
    fn the_picture_has_a_title_axes_with_units_and_a_legend() {
        let path = std::env::temp_dir().join(format!("slot-manager-replay-{}.svg", std::process::id()));
        draw(&path, "a title", &series(5, 100)).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for text in [
            "a title",
            "virtual time (minutes)",
            "used slots (mean)",
            "waiting requests (peak)",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(picture.len() < 100_000);
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_an_error() {
        let error = draw(Path::new("no such directory/replay.svg"), "", &series(1, 1)).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot draw no such directory/replay.svg: "),
            "{error:#}"
        );
    }
}
