//! The drawing.

use std::fmt::Write as _;

use super::layout::{Item, Layout, Link, lay_out};
use super::{Arrow, Cell, Picture};
use crate::blueprint::{Blueprint, Outcome};

/// Estimated width of a character of the names and of the small text, in pixels. Estimates are on
/// the wide side, as the reader's font is not known.
const NAME_CHAR: f64 = 8.4;
const SMALL_CHAR: f64 = 6.6;

/// Height of a line of small text.
const SMALL_LINE: f64 = 14.0;

/// Characters in a line of a label.
const LABEL_LINE_CHARS: usize = 42;

/// Room that an arrow from a box to itself takes beside it.
const LOOP_WIDTH: f64 = 26.0;

/// Look of everything. Colour is never the only sign: ends have a double border and say so.
const STYLE: &str = "\
    text{font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif;text-anchor:middle}\
    .name{font-size:13px;font-weight:600;fill:#1f2328}\
    .small{font-size:11px;fill:#57606a}\
    .label{font-size:11px;fill:#24292f}\
    .box{fill:#f6f8fa;stroke:#57606a}\
    .work{fill:#ddf4ff;stroke:#0969da}\
    .finished{fill:#dafbe1;stroke:#1a7f37}\
    .failed{fill:#ffebe9;stroke:#b42318}\
    .way{fill:none;stroke:#6e7781;stroke-width:1.3}\
    .head{fill:#6e7781}";

/// Draws a blueprint as SVG. Takes nothing from outside: no font, no script, no link.
#[must_use]
pub fn svg(blueprint: &Blueprint) -> String {
    let picture = Picture::new(blueprint);
    let labels: Vec<Vec<String>> = picture.arrows.iter().map(label_lines).collect();
    let loops: Vec<f64> = (0..picture.boxes.len())
        .map(|index| {
            let own = picture.arrows.iter().zip(&labels);
            let own = own.filter(|(arrow, _)| arrow.from == index && arrow.to == index);
            own.map(|(_, lines)| LOOP_WIDTH + label_size(lines).0)
                .fold(0.0, f64::max)
        })
        .collect();
    let sizes: Vec<(f64, f64)> = picture
        .boxes
        .iter()
        .zip(&loops)
        // An arrow to itself stands on the right; the same room on the left keeps the box centred.
        .map(|(cell, room)| (box_size(cell).0 + 2.0 * room, box_size(cell).1))
        .collect();
    let links: Vec<Link> = picture
        .arrows
        .iter()
        .zip(&labels)
        .map(|(arrow, lines)| Link {
            from: arrow.from,
            to: arrow.to,
            label: label_size(lines),
        })
        .collect();
    let layout = lay_out(&sizes, &links, picture.start);
    let mut out = String::new();
    open(&mut out, blueprint, &layout);
    let ports = Ports::new(&picture, &layout);
    for (index, arrow) in picture.arrows.iter().enumerate() {
        draw_way(&mut out, &picture, &layout, &ports, (index, arrow));
    }
    for (index, cell) in picture.boxes.iter().enumerate() {
        draw_box(&mut out, cell, &layout.items[index], index == picture.start);
    }
    for (index, arrow) in picture.arrows.iter().enumerate() {
        let at = match layout.labels[index] {
            Some(item) => Some((layout.items[item].x, layout.items[item].y)),
            None if arrow.from == arrow.to => {
                let item = &layout.items[arrow.from];
                let right = item.x + box_size(&picture.boxes[arrow.from]).0 / 2.0 + LOOP_WIDTH;
                Some((right + label_size(&labels[index]).0 / 2.0, item.y))
            }
            None => None,
        };
        if let Some(at) = at {
            draw_label(&mut out, at, &labels[index]);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Writes what comes before the drawing.
fn open(out: &mut String, blueprint: &Blueprint, layout: &Layout) {
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    let _ = writeln!(out, "<title>{}</title>", escape(&blueprint.name));
    if let Some(description) = &blueprint.description {
        let _ = writeln!(out, "<desc>{}</desc>", escape(description));
    }
    let _ = writeln!(out, "<style>{STYLE}</style>");
    out.push_str(
        "<defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto-start-reverse\"><path class=\"head\" d=\"M0 0 10 5 0 10z\"/>\
         </marker></defs>\n",
    );
    let _ = writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    );
}

/// Returns a box's size.
fn box_size(cell: &Cell<'_>) -> (f64, f64) {
    let width = text_width(cell.name, NAME_CHAR).max(text_width(&cell.action, SMALL_CHAR)) + 24.0;
    let width = if cell.end.is_some() {
        width + 14.0
    } else {
        width
    };
    (
        width.max(70.0),
        if cell.action.is_empty() { 32.0 } else { 46.0 },
    )
}

/// Returns the width of a line.
fn text_width(text: &str, char_width: f64) -> f64 {
    u32::try_from(text.chars().count()).map_or(0.0, f64::from) * char_width
}

/// Returns the lines of an arrow's label.
fn label_lines(arrow: &Arrow) -> Vec<String> {
    let mut lines = Vec::new();
    for label in &arrow.labels {
        let mut line = String::new();
        for word in label.split(' ') {
            let longer = line.chars().count() + 1 + word.chars().count() > LABEL_LINE_CHARS;
            if longer && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Returns the size of a label.
fn label_size(lines: &[String]) -> (f64, f64) {
    let width = lines
        .iter()
        .map(|line| text_width(line, SMALL_CHAR))
        .fold(0.0, f64::max);
    (
        width,
        u32::try_from(lines.len()).map_or(0.0, f64::from) * SMALL_LINE,
    )
}

/// Where arrows touch the boxes: spread along their edges, in the order of where they lead.
struct Ports {
    /// For each arrow the x of its beginning and of its end.
    ends: Vec<(f64, f64)>,
}

impl Ports {
    fn new(picture: &Picture<'_>, layout: &Layout) -> Self {
        let mut ends: Vec<(f64, f64)> = vec![(0.0, 0.0); picture.arrows.len()];
        for (index, cell) in picture.boxes.iter().enumerate() {
            let item = &layout.items[index];
            for above in [true, false] {
                // Each: the arrow, whether it begins here, and where it comes from or goes to.
                let mut touching: Vec<(usize, bool, f64)> = Vec::new();
                for (number, route) in layout.routes.iter().enumerate() {
                    let Some(next) = route.get(1) else { continue };
                    let before = route[route.len() - 2];
                    let sides = [
                        (route[0], *next, true),
                        (route[route.len() - 1], before, false),
                    ];
                    for (end, neighbour, begins) in sides {
                        let neighbour = &layout.items[neighbour];
                        if end == index && (neighbour.y < item.y) == above {
                            touching.push((number, begins, neighbour.x));
                        }
                    }
                }
                touching.sort_by(|a, b| a.2.total_cmp(&b.2));
                let count = u32::try_from(touching.len()).map_or(1.0, f64::from);
                let step = ((box_size(cell).0 - 24.0) / count).min(26.0);
                for (place, (number, begins, _)) in touching.into_iter().enumerate() {
                    let place = u32::try_from(place).map_or(0.0, f64::from);
                    let x = item.x + (place - (count - 1.0) / 2.0) * step;
                    if begins {
                        ends[number].0 = x;
                    } else {
                        ends[number].1 = x;
                    }
                }
            }
        }
        Self { ends }
    }
}

/// Draws an arrow.
fn draw_way(
    out: &mut String,
    picture: &Picture<'_>,
    layout: &Layout,
    ports: &Ports,
    (index, arrow): (usize, &Arrow),
) {
    let route = &layout.routes[index];
    if route.is_empty() {
        let item = &layout.items[arrow.from];
        let right = item.x + box_size(&picture.boxes[arrow.from]).0 / 2.0;
        let _ = writeln!(
            out,
            "<path class=\"way\" marker-end=\"url(#head)\" d=\"M{:.1} {:.1} h{LOOP_WIDTH} v18 h-{LOOP_WIDTH}\"/>",
            right,
            item.y - 9.0
        );
        return;
    }
    let (first_x, last_x) = ports.ends[index];
    let (first, last) = (
        &layout.items[route[0]],
        &layout.items[route[route.len() - 1]],
    );
    let down = first.y < last.y;
    let edge = |item: &Item, towards_down: bool| {
        if towards_down {
            item.y + item.height / 2.0
        } else {
            item.y - item.height / 2.0
        }
    };
    let mut points = vec![(first_x, edge(first, down))];
    for item in &route[1..route.len() - 1] {
        let item = &layout.items[*item];
        // A label is passed straight, so that the line does not cut through its neighbours.
        points.push((item.x, edge(item, !down)));
        if item.height > 0.0 {
            points.push((item.x, edge(item, down)));
        }
    }
    points.push((last_x, edge(last, !down)));
    let mut path = format!("M{:.1} {:.1}", points[0].0, points[0].1);
    for pair in points.windows(2) {
        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
        let middle = f64::midpoint(y1, y2);
        let _ = write!(
            path,
            " C{x1:.1} {middle:.1} {x2:.1} {middle:.1} {x2:.1} {y2:.1}"
        );
    }
    let _ = writeln!(
        out,
        "<path class=\"way\" marker-end=\"url(#head)\" d=\"{path}\"/>"
    );
}

/// Draws a state.
fn draw_box(out: &mut String, cell: &Cell<'_>, item: &Item, is_start: bool) {
    let (width, height) = box_size(cell);
    let (left, top) = (item.x - width / 2.0, item.y - height / 2.0);
    let class = match cell.end {
        Some(Outcome::Finished) => "finished",
        Some(Outcome::Failed) => "failed",
        None if cell.action.is_empty() || cell.action == "choose" => "box",
        None => "work",
    };
    let radius = if cell.end.is_some() {
        height / 2.0
    } else {
        6.0
    };
    let stroke = if is_start { 2.5 } else { 1.2 };
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\" rx=\"{radius:.1}\" stroke-width=\"{stroke}\"/>"
    );
    if cell.end.is_some() {
        let _ = writeln!(
            out,
            "<rect fill=\"none\" class=\"{class}\" style=\"fill:none\" x=\"{:.1}\" y=\"{:.1}\" \
             width=\"{:.1}\" height=\"{:.1}\" rx=\"{:.1}\"/>",
            left + 3.0,
            top + 3.0,
            width - 6.0,
            height - 6.0,
            radius - 3.0
        );
    }
    let name_y = if cell.action.is_empty() {
        item.y + 4.5
    } else {
        item.y - 3.5
    };
    let name = escape(cell.name);
    let _ = writeln!(
        out,
        "<text class=\"name\" x=\"{:.1}\" y=\"{name_y:.1}\">{name}</text>",
        item.x
    );
    if !cell.action.is_empty() {
        let action = escape(&cell.action);
        let y = item.y + 12.5;
        let _ = writeln!(
            out,
            "<text class=\"small\" x=\"{:.1}\" y=\"{y:.1}\">{action}</text>",
            item.x
        );
    }
}

/// Writes a label around a point.
fn draw_label(out: &mut String, (x, y): (f64, f64), lines: &[String]) {
    let (width, height) = label_size(lines);
    let _ = writeln!(
        out,
        "<rect fill=\"#fff\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
        x - width / 2.0,
        y - height / 2.0
    );
    let mut line_y = y - height / 2.0 + SMALL_LINE - 3.5;
    for line in lines {
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{x:.1}\" y=\"{line_y:.1}\">{}</text>",
            escape(line)
        );
        line_y += SMALL_LINE;
    }
}

/// Writes a text as XML has it; what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push(' '),
            character if character < ' ' => {}
            character => out.push(character),
        }
    }
    out
}
