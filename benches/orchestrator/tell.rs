//! Figures as a table that a document can take over as it is.

/// Prints a line.
#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
pub fn line(text: &str) {
    println!("{text}");
}

/// Prints the head of a table.
pub fn head(cells: &[&str]) {
    row(&cells
        .iter()
        .map(|cell| (*cell).to_owned())
        .collect::<Vec<_>>());
    let rule = std::iter::once("---").chain(cells.iter().skip(1).map(|_| "--:"));
    line(&format!("|{}|", rule.collect::<Vec<_>>().join("|")));
}

/// Prints a row.
pub fn row(cells: &[String]) {
    line(&format!("| {} |", cells.join(" | ")));
}

/// Writes a figure with as many places as it is worth.
pub fn figure(value: f64) -> String {
    if value >= 1000.0 {
        let whole = format!("{value:.0}");
        let (thousands, rest) = whole.split_at(whole.len() - 3);
        format!("{thousands},{rest}")
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Writes how many times the second figure the first one is.
pub fn times(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 {
        format!("{}x", figure(ours / theirs))
    } else {
        "-".to_owned()
    }
}
