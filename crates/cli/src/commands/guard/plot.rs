//! Draws a stream: its scores, their mean and their drop, the limits, and the halt. An SVG that needs nothing else.

use std::fmt::Write;

use glasshouse_halt::{Config, Halt};

/// A token of the drawing.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its score, if it had one.
    pub score: Option<f64>,
    /// The mean of the window that it ends.
    pub mean: Option<f64>,
    /// The drop over the trend window that it ends.
    pub drop: Option<f64>,
}

/// The drawing, and the room around its axes for numbers and words.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 40.0;

/// Colours that people tell apart who do not see all of them (Okabe and Ito).
const SCORE: &str = "#0072b2";
const MEAN: &str = "#e69f00";
const DROP: &str = "#009e73";
const HALT: &str = "#d55e00";

/// More points than the drawing has columns are drawn by the least of each column, so that no halt is missed.
const COLUMNS: usize = (WIDTH - LEFT - RIGHT) as usize;

/// The drawing as text.
pub fn svg(limits: &Config, points: &[Point], halt: Option<&Halt>) -> String {
    let last = points.len().saturating_sub(1).max(1) as f64;
    let x = |index: f64| LEFT + index / last * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - value.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Scores of {} tokens{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        points.len(),
        halt.map_or(String::new(), |halt| format!(
            ", halted at {}: {}",
            halt.index,
            escaped(&halt.cause.to_string())
        )),
    );
    let (left, right, bottom) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM);
    // Writing to a string does not fail; nor does any `write!` below.
    for step in 0..=5 {
        let (value, place) = (f64::from(step) / 5.0, y(f64::from(step) / 5.0));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {place:.1}H{right}\" stroke=\"#e5e5e5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{value:.1}</text>",
            left - 8.0,
            place + 4.0,
        );
    }
    for step in 0..=4 {
        let index = (last * f64::from(step) / 4.0).round();
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{index}</text>",
            x(index),
            bottom + 18.0,
        );
    }
    for (limit, colour, name) in [
        (limits.hard_limit, SCORE, "hard_limit"),
        (limits.window_threshold, MEAN, "window_threshold"),
        (limits.trend_threshold, DROP, "trend_threshold"),
    ] {
        let place = y(limit);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {place:.1}H{right}\" stroke=\"{colour}\" stroke-dasharray=\"5 4\" opacity=\"0.7\">\
             <title>{name} {limit}</title></path>",
        );
    }
    line(&mut svg, points, |point| point.score, f64::min, SCORE, "score", (&x, &y));
    line(&mut svg, points, |point| point.mean, f64::min, MEAN, "mean of the window", (&x, &y));
    line(&mut svg, points, |point| point.drop, f64::max, DROP, "drop over the trend window", (&x, &y));
    if let Some(halt) = halt {
        let place = x((halt.index as f64).min(last));
        let (anchor, beside) = if place > WIDTH / 2.0 { ("end", -6.0) } else { ("start", 6.0) };
        let _ = writeln!(
            svg,
            "<path d=\"M{place:.1} {TOP}V{bottom}\" stroke=\"{HALT}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{HALT}\">halt at {}: {}</text>",
            place + beside,
            TOP + 14.0,
            halt.index,
            escaped(&halt.cause.to_string()),
        );
    }
    let names = [
        ("score", SCORE),
        ("mean of the window", MEAN),
        ("drop over the trend window", DROP),
        ("limits", "#888"),
    ];
    let mut place = LEFT;
    for (name, colour) in names {
        let dashes = if name == "limits" { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            svg,
            "<path d=\"M{place} 28h22\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{}\" y=\"32\" fill=\"#222\">{name}</text>",
            place + 28.0,
        );
        place += 48.0 + 6.6 * name.len() as f64;
    }
    svg.push_str("</svg>\n");
    svg
}

/// A line through the values of all points that have one, in pieces where some have none.
fn line(
    svg: &mut String,
    points: &[Point],
    value: impl Fn(&Point) -> Option<f64>,
    worse: impl Fn(f64, f64) -> f64,
    colour: &str,
    name: &str,
    (x, y): (&dyn Fn(f64) -> f64, &dyn Fn(f64) -> f64),
) {
    let size = points.len().div_ceil(COLUMNS).max(1);
    let mut path = String::new();
    let mut is_open = false;
    for (column, points) in points.chunks(size).enumerate() {
        let Some(value) = points.iter().filter_map(&value).reduce(&worse) else {
            is_open = false;
            continue;
        };
        let command = if is_open { 'L' } else { 'M' };
        let _ = write!(path, "{command}{:.1} {:.1}", x((column * size) as f64), y(value));
        is_open = true;
    }
    if !path.is_empty() {
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\"><title>{name}</title></path>",
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
