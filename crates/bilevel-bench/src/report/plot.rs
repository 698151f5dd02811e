//! Panels of curves as SVG: the basis of all line figures.
//!
//! Colours are those of M. Okabe and K. Ito, "Color universal design" (2008), distinguishable with every kind of colour
//! vision; baselines are grey. If colours repeat, lines are dashed, and labelled at their ends too.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;
use super::convergence::Axis;

pub(crate) type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) const INK: RGBColor = RGBColor(51, 51, 51);
pub(crate) const GRID: RGBColor = RGBColor(229, 229, 229);
pub(crate) const METHODS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
/// Lengths of a dash and of the gap after it, in pixels.
type Dash = (i32, i32);
/// Grey and dashes, for one baseline after the other.
const BASELINES: [(RGBColor, Dash); 3] = [
    (RGBColor(90, 90, 90), (3, 3)),
    (RGBColor(90, 90, 90), (10, 10)),
    (RGBColor(150, 150, 150), (6, 6)),
];
/// An endless dash.
const SOLID: Dash = (i32::MAX, 0);
/// For the first cycle of colours, and for those after it.
const DASHES: [Dash; 7] = [SOLID, (8, 8), (3, 3), (14, 14), (14, 4), (3, 9), (24, 8)];

/// Width of a single panel, and of one of two beside each other.
const WIDTHS: (u32, u32) = (860, 560);
/// The height of a panel, and what of it is not for curves.
const HEIGHT: u32 = 430;
const AROUND: u32 = 110;
/// From a name at the end of a line to the next.
const APART: i32 = 12;
const TITLE: u32 = 36;
/// A line of the legend, and the key before a name.
const LINE: i32 = 20;
const KEY: i32 = 30;
/// The lower limit of a logarithmic axis: smaller values are not meaningful in f64.
const FLOOR: f64 = 1e-24;

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Stroke {
    color: RGBColor,
    dash: Dash,
}

impl Stroke {
    /// For method number `at`.
    pub fn method(at: usize) -> Self {
        let dash = DASHES[at / METHODS.len() % DASHES.len()];
        Self { color: METHODS[at % METHODS.len()], dash }
    }

    /// For baseline number `at`.
    pub fn baseline(at: usize) -> Self {
        let (color, dash) = BASELINES[at % BASELINES.len()];
        Self { color, dash }
    }

    fn style(self) -> ShapeStyle {
        self.color.stroke_width(2)
    }
}

/// One line of a panel. A line of one point is a mark.
pub(crate) struct Line {
    pub label: String,
    pub stroke: Stroke,
    /// (horizontal, vertical)
    pub points: Vec<(f64, f64)>,
    /// (horizontal, from, to); empty if there is none.
    pub band: Vec<(f64, f64, f64)>,
    /// A separate value, such as that after a final training.
    pub mark: Option<(f64, f64)>,
}

/// One panel.
pub(crate) struct Panel {
    pub title: String,
    pub axis: Axis,
    pub quantity: Axis,
    pub lines: Vec<Line>,
}

/// Draws the panels, two beside each other, with a legend below. Values that are not finite are left out.
///
/// # Errors
/// If the drawing library fails.
pub(crate) fn svg(title: &str, panels: &[Panel]) -> Result<String, ReportError> {
    let mut text = String::new();
    draw(title, panels, &mut text).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(text)
}

fn draw<'a>(title: &str, panels: &[Panel], text: &'a mut String) -> Result<(), DrawError<'a>> {
    let columns = panels.len().clamp(1, 2);
    let width = if columns == 1 { WIDTHS.0 } else { WIDTHS.1 };
    let rows = panels.len().div_ceil(columns).max(1);
    let legends: Vec<Vec<(String, Stroke)>> = panels.iter().map(legend).collect();
    let shared = legends.windows(2).all(|pair| pair[0] == pair[1]);
    let (of_figure, of_panels) = match (shared, legends.first()) {
        (true, Some(legend)) => (legend.clone(), vec![Vec::new(); panels.len()]),
        _ => (Vec::new(), legends),
    };
    let whole = width * columns as u32;
    let height = panels.iter().map(Panel::height).max().unwrap_or(HEIGHT);
    let below = |entries: &[(String, Stroke)], width: u32| LINE as u32 * flow(entries, width).1;
    let tallest = of_panels.iter().map(|entries| below(entries, width)).max().unwrap_or(0);
    let head = if title.is_empty() { 0 } else { TITLE };
    let size = (whole, head + rows as u32 * (height + tallest) + below(&of_figure, whole) + 10);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    let body = if title.is_empty() { root.clone() } else { root.titled(title, font(20))? };
    let (areas, foot) = body.split_vertically(size.1 - head - below(&of_figure, whole) - 10);
    for ((area, panel), entries) in
        areas.split_evenly((rows, columns)).iter().zip(panels).zip(&of_panels)
    {
        let (area, foot) = area.split_vertically(height);
        draw_panel(&root, &area, panel)?;
        draw_legend(&foot, entries, width)?;
    }
    draw_legend(&foot, &of_figure, whole)?;
    root.present()
}

fn legend(panel: &Panel) -> Vec<(String, Stroke)> {
    panel.drawn().map(|line| (line.label.clone(), line.stroke)).collect()
}

/// The position of each entry of a legend, and the number of its lines. Without a font the width of a name is estimated
/// generously.
fn flow(entries: &[(String, Stroke)], width: u32) -> (Vec<(i32, i32)>, u32) {
    const LEFT: i32 = 64;
    let (mut x, mut line) = (LEFT, 0);
    let place = |(name, _): &(String, Stroke)| {
        let needs = KEY + 8 + 8 * name.chars().count() as i32 + 24;
        if x > LEFT && x + needs > width as i32 {
            (x, line) = (LEFT, line + 1);
        }
        x += needs;
        (x - needs, line)
    };
    let places: Vec<_> = entries.iter().map(place).collect();
    let lines = places.last().map_or(0, |last| last.1 as u32 + 1);
    (places, lines)
}

fn draw_legend<'a>(
    area: &Area<'a>,
    entries: &[(String, Stroke)],
    width: u32,
) -> Result<(), DrawError<'a>> {
    for ((name, stroke), (x, line)) in entries.iter().zip(flow(entries, width).0) {
        let middle = LINE * line + LINE / 2;
        let mut from = x;
        while from < x + KEY {
            let to = from.saturating_add(stroke.dash.0).min(x + KEY);
            area.draw(&PathElement::new([(from, middle), (to, middle)], stroke.style()))?;
            from = to + stroke.dash.1;
        }
        area.draw(&Text::new(name.clone(), (x + KEY + 8, middle - 7), font(14)))?;
    }
    Ok(())
}

/// From the minimum to the maximum.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |range, value| {
        Some(range.map_or((value, value), |(a, b): (f64, f64)| (a.min(value), b.max(value))))
    })
}

impl Axis {
    fn label(self) -> &'static str {
        match self {
            Self::Linear(label) | Self::Logarithmic(label) => label,
        }
    }

    /// The horizontal position of a value, if it has one.
    fn along(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear(_) => value.is_finite().then_some(value),
            Self::Logarithmic(_) => (value > 0.0 && value.is_finite()).then(|| value.log10()),
        }
    }

    /// The vertical position of a value: on a logarithmic axis values that are not positive are at the bottom.
    fn upwards(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear(_) => value.is_finite().then_some(value),
            Self::Logarithmic(_) => value.is_finite().then(|| value.max(FLOOR).log10()),
        }
    }

    /// The limits of the vertical axis around positions from `low` to `high`: half a unit around a constant; percentages
    /// stay between 0 and 100.
    fn around(self, low: f64, high: f64) -> (f64, f64) {
        let (span, size) = (high - low, low.abs().max(high.abs()));
        let room = match self {
            // Two labels need some space between them.
            Self::Logarithmic(_) => (0.06 * span).max(0.1),
            Self::Linear(_) if span <= 1e-9 * size => (1e-3 * size).max(0.5),
            Self::Linear(_) => (0.06 * span).max(1e-3 * size),
        };
        let is_percentage = matches!(self, Self::Linear(label) if label.contains('%'));
        match is_percentage && low >= 0.0 && high <= 100.0 {
            true => ((low - room).max(0.0), (high + room).min(100.0)),
            false => (low - room, high + room),
        }
    }

    /// Whether all of these values are whole numbers of a linear axis; then its ticks are, too.
    fn is_whole(self, mut values: impl Iterator<Item = f64>) -> bool {
        matches!(self, Self::Linear(_)) && values.all(|value| value.fract() == 0.0)
    }

    /// The value at a position of an axis of this length.
    fn name(self, place: f64, span: f64) -> String {
        let Self::Logarithmic(_) = self else { return short(place, span) };
        let value = 10f64.powf(place);
        let is_power = (place - place.round()).abs() < 1e-6;
        match is_power {
            _ if (-2.0..0.0).contains(&place) => format!("{value:.3}"),
            _ if (0.0..1.0).contains(&place) => format!("{value:.2}"),
            _ if (1.0..5.0).contains(&place) => format!("{value:.0}"),
            true => format!("{value:.0e}"),
            false => format!("{value:.1e}"),
        }
    }
}

impl Panel {
    fn place(&self, &(x, y): &(f64, f64)) -> Option<(f64, f64)> {
        Some((self.axis.along(x)?, self.quantity.upwards(y)?))
    }

    /// The lines of which there is something to draw.
    fn drawn(&self) -> impl Iterator<Item = &Line> {
        let is_drawn = move |line: &&Line| {
            line.points.iter().chain(&line.mark).any(|at| self.place(at).is_some())
        };
        self.lines.iter().filter(is_drawn)
    }

    /// Whether lines have their names at their ends, as colours repeat.
    fn is_named(&self) -> bool {
        self.drawn().count() > METHODS.len()
    }

    /// The height where these names have space.
    fn height(&self) -> u32 {
        let names = if self.is_named() { self.drawn().count() } else { 0 };
        HEIGHT.max(AROUND + APART as u32 * names as u32)
    }
}

/// The number of ticks of an axis, at most `most`; for whole numbers as many as there are, if these are fewer.
fn ticks(most: usize, is_whole: bool, (from, to): (f64, f64)) -> usize {
    if is_whole { most.min((to.floor() - from.ceil()) as usize + 1) } else { most }
}

fn draw_panel<'a>(root: &Area<'a>, area: &Area<'a>, panel: &Panel) -> Result<(), DrawError<'a>> {
    let Panel { axis, quantity, .. } = panel;
    let place = |at: &(f64, f64)| panel.place(at);
    let points = || panel.drawn().flat_map(|line| line.points.iter().chain(&line.mark));
    let placed = || points().filter_map(place);
    let (left, right) = range(placed().map(|at| at.0)).unwrap_or((0.0, 1.0));
    // From 0, unless much would be blank.
    let is_near = left > 0.0 && (8.0 * left <= right || left == right);
    let left = if matches!(axis, Axis::Linear(_)) && is_near { 0.0 } else { left };
    let right = if right > left { right } else { left + 1.0 };
    // What is not positive is at the bottom of a logarithmic axis, wherever that is.
    let is_high = |value: f64| matches!(quantity, Axis::Linear(_)) || value > 0.0;
    let heights = points().filter(|at| is_high(at.1)).filter_map(place).map(|at| at.1);
    let bands = panel.drawn().flat_map(|line| &line.band).flat_map(|&(_, from, to)| [from, to]);
    // A band on a logarithmic axis may reach down to 0.
    let bands = bands.filter(|_| matches!(quantity, Axis::Linear(_)));
    let (low, high) = range(heights.chain(bands)).unwrap_or((0.0, 1.0));
    let (low, high) = quantity.around(low, high);
    let [across, upwards] =
        [axis.is_whole(placed().map(|at| at.0)), quantity.is_whole(placed().map(|at| at.1))];
    // A label of a whole number has no decimals.
    let span = |(from, to): (f64, f64), whole| if whole { 10f64.max(to - from) } else { to - from };
    let named = panel.is_named();
    let longest = panel.drawn().map(|line| line.label.chars().count()).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(if named { 14 + 7 * longest as u32 } else { 24 })
        .caption(&panel.title, font(16))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc(axis.label())
        .y_desc(quantity.label())
        .x_labels(ticks(7, across, (left, right)))
        .x_label_formatter(&|place| {
            let name = axis.name(*place, span((left, right), across));
            name.strip_suffix(".0").unwrap_or(&name).to_owned()
        })
        .y_labels(ticks(8, upwards, (low, high)))
        .y_label_formatter(&|place| quantity.name(*place, span((low, high), upwards)))
        .label_style(font(13))
        .axis_desc_style(font(14))
        .draw()?;
    let inside = |place: f64| place.clamp(low, high);
    let mut ends = Vec::new();
    for line in panel.drawn() {
        let Stroke { color, dash } = line.stroke;
        let edge = |upper: bool| {
            let edges = line.band.iter().filter(|edge| edge.1.is_finite() && edge.2.is_finite());
            edges.filter_map(move |&(x, from, to)| {
                let y = quantity.upwards(if upper { to } else { from })?;
                Some((axis.along(x)?, inside(y)))
            })
        };
        let below: Vec<_> = edge(false).collect();
        if below.len() > 1 {
            let outline: Vec<_> = edge(true).chain(below.into_iter().rev()).collect();
            chart.draw_series([Polygon::new(outline, color.mix(0.15))])?;
        }
        let points = line.points.iter().filter_map(place).map(|(x, y)| (x, inside(y)));
        let points: Vec<_> = points.collect();
        if let Some(&end) = points.last() {
            ends.push((chart.backend_coord(&end), line));
        }
        if let [point] = points[..] {
            chart.draw_series([Circle::new(point, 4, color.filled())])?;
        } else if dash == SOLID {
            chart.draw_series(LineSeries::new(points, line.stroke.style()))?;
        } else {
            chart.draw_series(DashedLineSeries::new(
                points,
                dash.0,
                dash.1,
                line.stroke.style(),
            ))?;
        }
        if let Some(mark) = line.mark.as_ref().and_then(place) {
            let mark = (mark.0, inside(mark.1));
            chart.draw_series([TriangleMarker::new(mark, 6, color.filled())])?;
        }
    }
    if named {
        let (across, down) = chart.plotting_area().get_pixel_range();
        name_ends(root, ends, (across.end, down.end))?;
    }
    Ok(())
}

/// Names at the right ends of lines, beside the panel that ends at `right` and `bottom`, without overlap.
fn name_ends<'a>(
    root: &Area<'a>,
    mut ends: Vec<((i32, i32), &Line)>,
    (right, bottom): (i32, i32),
) -> Result<(), DrawError<'a>> {
    ends.sort_by_key(|end| end.0.1);
    // Down if there is no space, and up again if that led below the panel.
    let mut places: Vec<i32> = Vec::new();
    for ((_, y), _) in &ends {
        places.push(places.last().map_or(*y, |last| (*y).max(last + APART)));
    }
    let mut most = bottom;
    for y in places.iter_mut().rev() {
        *y = (*y).min(most);
        most = *y - APART;
    }
    for ((_, line), y) in ends.into_iter().zip(places) {
        let style = ("sans-serif", 12).into_font().color(&line.stroke.color);
        root.draw(&Text::new(line.label.clone(), (right + 6, y - 6), style))?;
    }
    Ok(())
}

pub(crate) fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A label of the vertical axis, with as many decimals as its span needs.
pub(super) fn short(value: f64, span: f64) -> String {
    let decimals = (1.0 - span.log10()).ceil().clamp(0.0, 6.0) as usize;
    let text = match value == 0.0 || (1e-6..1e7).contains(&span) {
        true => format!("{value:.decimals$}"),
        false => format!("{value:.1e}"),
    };
    // Rounded to 0.
    let is_zero = text.chars().all(|c| "-0.".contains(c));
    text.strip_prefix('-').filter(|_| is_zero).map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
