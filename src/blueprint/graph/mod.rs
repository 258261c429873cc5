//! Pictures of a blueprint: as text for Graphviz and Mermaid, and drawn as SVG.

mod layout;
mod svg;

use std::fmt::Write as _;

use super::{Action, Blueprint, Outcome, ParallelTasks, Template, WaitFor};

pub use svg::svg;

/// The longest label of a way, in characters; a longer condition is cut.
const LABEL_CHARS_MAX: usize = 60;

/// A blueprint as boxes and arrows.
struct Picture<'a> {
    boxes: Vec<Cell<'a>>,
    arrows: Vec<Arrow>,
    /// The index of the first state.
    start: usize,
}

/// A state.
struct Cell<'a> {
    name: &'a str,
    /// What it does, in a few words; empty for a plain step.
    action: String,
    end: Option<Outcome>,
}

/// All ways from one state to another.
struct Arrow {
    from: usize,
    to: usize,
    /// One for each way that has one.
    labels: Vec<String>,
}

impl<'a> Picture<'a> {
    /// Takes from a blueprint what is drawn.
    fn new(blueprint: &'a Blueprint) -> Self {
        let index = |name: &str| blueprint.states.iter().position(|(known, _)| known == name);
        let boxes = blueprint.states.iter().map(|(name, state)| Cell {
            name,
            action: describe(&state.body.action, blueprint),
            end: match &state.body.action {
                Action::End(end) => Some(end.outcome),
                _ => None,
            },
        });
        let mut arrows: Vec<Arrow> = Vec::new();
        for (from, way) in blueprint.ways() {
            let (Some(from), Some(to)) = (index(from), index(&way.to)) else {
                continue;
            };
            let known = arrows
                .iter()
                .position(|arrow| arrow.from == from && arrow.to == to);
            let arrow = known.unwrap_or_else(|| {
                arrows.push(Arrow {
                    from,
                    to,
                    labels: Vec::new(),
                });
                arrows.len() - 1
            });
            let arrow = &mut arrows[arrow];
            if !way.label.is_empty() {
                arrow.labels.push(cut(&way.label, LABEL_CHARS_MAX));
            }
        }
        Self {
            boxes: boxes.collect(),
            arrows,
            start: index(&blueprint.start).unwrap_or(0),
        }
    }
}

/// Cuts a text to so many characters.
fn cut(text: &str, chars_max: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= chars_max {
        return text;
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Says in a few words what an action does.
fn describe(action: &Action, blueprint: &Blueprint) -> String {
    let text = |template: &Template| match template {
        Template::Constant(value) => value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        Template::Expression(id) => blueprint.compiled.source(*id).to_owned(),
        Template::List(_) | Template::Object(_) => "…".to_owned(),
    };
    let words = match action {
        Action::GoTo(_) => String::new(),
        Action::Choose { .. } => "choose".to_owned(),
        Action::Dispatch(dispatch) => format!("dispatch {}", text(&dispatch.skill)),
        Action::Parallel(parallel) => match &parallel.tasks {
            ParallelTasks::Listed(tasks) => format!("parallel: {} tasks", tasks.len()),
            ParallelTasks::ForEach { name, task, .. } => {
                format!("parallel: {} for each {name}", text(&task.skill))
            }
        },
        Action::Run(run) => format!("run {}", run.blueprint),
        Action::Approve(approve) => format!("approve by {}", approve.integration),
        Action::Wait(wait) => match &wait.wait_for {
            WaitFor::Duration(time) => format!("wait {}", short_duration(*time)),
            WaitFor::Until(time) => format!("wait until {}", text(time)),
            WaitFor::Event { name, .. } => format!("wait for event {name}"),
        },
        Action::End(end) => match end.outcome {
            Outcome::Finished => "end: finished".to_owned(),
            Outcome::Failed => "end: failed".to_owned(),
        },
    };
    cut(&words, 40)
}

/// Writes a duration in its largest whole unit.
fn short_duration(duration: std::time::Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

/// Draws a blueprint in the language of Graphviz.
#[must_use]
pub fn dot(blueprint: &Blueprint) -> String {
    let picture = Picture::new(blueprint);
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = format!("// {}, revision {}\n", blueprint.name, blueprint.revision);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "digraph {} {{", quote(&blueprint.name));
    out.push_str("\tnode [shape=box style=rounded]\n");
    out.push_str("\t\"\" [shape=point]\n");
    for cell in &picture.boxes {
        let label = match cell.action.as_str() {
            "" => quote(cell.name),
            action => quote(&format!("{}\n{action}", cell.name)).replace('\n', "\\n"),
        };
        let end = match cell.end {
            Some(Outcome::Finished) => " peripheries=2 color=darkgreen",
            Some(Outcome::Failed) => " peripheries=2 color=firebrick",
            None => "",
        };
        let _ = writeln!(out, "\t{} [label={label}{end}]", quote(cell.name));
    }
    if let Some(start) = picture.boxes.get(picture.start) {
        let _ = writeln!(out, "\t\"\" -> {}", quote(start.name));
    }
    for arrow in &picture.arrows {
        let (from, to) = (
            quote(picture.boxes[arrow.from].name),
            quote(picture.boxes[arrow.to].name),
        );
        let label = match arrow.labels.join("\n").as_str() {
            "" => String::new(),
            label => format!(" [label={}]", quote(label).replace('\n', "\\n")),
        };
        let _ = writeln!(out, "\t{from} -> {to}{label}");
    }
    out.push_str("}\n");
    out
}

/// Draws a blueprint in the language of Mermaid.
#[must_use]
pub fn mermaid(blueprint: &Blueprint) -> String {
    let picture = Picture::new(blueprint);
    let quote = |text: &str| {
        let escaped = text
            .replace('#', "#35;")
            .replace('"', "#quot;")
            .replace('<', "#lt;")
            .replace('>', "#gt;")
            .replace('\n', "<br/>");
        format!("\"{escaped}\"")
    };
    let mut out = "flowchart TD\n".to_owned();
    for (index, cell) in picture.boxes.iter().enumerate() {
        let label = match cell.action.as_str() {
            "" => quote(cell.name),
            action => quote(&format!("{}\n{action}", cell.name)),
        };
        let _ = match cell.end {
            Some(Outcome::Finished) => writeln!(out, "    s{index}([{label}]):::finished"),
            Some(Outcome::Failed) => writeln!(out, "    s{index}([{label}]):::failed"),
            None => writeln!(out, "    s{index}[{label}]"),
        };
    }
    let _ = writeln!(out, "    begin(( )) --> s{}", picture.start);
    for arrow in &picture.arrows {
        let (from, to) = (arrow.from, arrow.to);
        let _ = match arrow.labels.join("\n").as_str() {
            "" => writeln!(out, "    s{from} --> s{to}"),
            label => writeln!(out, "    s{from} -->|{}| s{to}", quote(label)),
        };
    }
    out.push_str("    classDef finished stroke:#1a7f37,stroke-width:2px\n");
    out.push_str("    classDef failed stroke:#b42318,stroke-width:2px\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::load;

    fn sample() -> Blueprint {
        let text = r#"
blueprint: sample
start: first
states:
  first:
    choose:
      - { when: 'initial_data.mode == "a<b"', go_to: work }
      - when: initial_data.ask
        approve: { message: "ok?" }
        on: { yes: work, no: bad }
    else: { go_to: first }
  work:
    dispatch: { skill: render }
    on: { success: pause, failure: bad, later: first }
  pause: { wait: { for: 90s }, go_to: good }
  good: { end: finished }
  bad: { end: failed }
"#;
        load("sample.yaml", text).blueprint.expect("it is good")
    }

    #[test]
    fn text_forms() {
        insta::assert_snapshot!("sample_dot", dot(&sample()));
        insta::assert_snapshot!("sample_mermaid", mermaid(&sample()));
    }

    #[test]
    fn the_drawing_shows_every_state_and_label() {
        let picture = svg(&sample());
        for part in [
            "first",
            "render",
            "wait 90s",
            "a&lt;b",
            "success",
            "end: failed",
            "initial_data.ask → yes",
        ] {
            assert!(picture.contains(part), "{part} is not in\n{picture}");
        }
        assert_eq!(picture, svg(&sample()), "the same every time");
    }

    #[test]
    fn nothing_overlaps() {
        let sizes = [
            (80.0, 30.0),
            (60.0, 40.0),
            (90.0, 30.0),
            (50.0, 30.0),
            (70.0, 30.0),
        ];
        let link = |from, to| layout::Link {
            from,
            to,
            label: (120.0, 28.0),
        };
        let links = [
            (0, 1),
            (0, 2),
            (0, 3),
            (1, 4),
            (2, 4),
            (3, 4),
            (4, 0),
            (0, 4),
            (3, 2),
            (1, 1),
        ];
        let links: Vec<_> = links.into_iter().map(|(from, to)| link(from, to)).collect();
        let layout = layout::lay_out(&sizes, &links, 0);
        let overlap = |a: &layout::Item, b: &layout::Item| {
            (a.x - b.x).abs() * 2.0 < a.width + b.width - 0.01
                && (a.y - b.y).abs() * 2.0 < a.height + b.height - 0.01
        };
        for (index, a) in layout.items.iter().enumerate() {
            assert!(
                layout.items[index + 1..].iter().all(|b| !overlap(a, b)),
                "{:?}",
                layout.items
            );
            assert!(a.x - a.width / 2.0 >= 0.0 && a.x + a.width / 2.0 <= layout.width);
            assert!(a.y - a.height / 2.0 >= 0.0 && a.y + a.height / 2.0 <= layout.height);
        }
        assert!(layout.items[0].y < layout.items[1].y && layout.items[1].y < layout.items[4].y);
    }
}
