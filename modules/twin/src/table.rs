//! Tables as the products print them for people (`github.com/olekukonko/tablewriter` 0.0.5): headers in the middle of their
//! column, cells at its left.

/// A table without lines between its rows: `lxd sql`.
pub(crate) fn render(header: &[String], rows: &[Vec<String>]) -> String {
    draw(header, rows, false)
}

/// A table with a line below each of its rows: `… list` without `-f`.
pub(crate) fn render_ruled(header: &[String], rows: &[Vec<String>]) -> String {
    draw(header, rows, true)
}

fn draw(header: &[String], rows: &[Vec<String>], ruled: bool) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        let all = cells.chain(header.get(i)).map(|cell| cell.chars().count());
        all.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let rule: String = widths
        .iter()
        .map(|w| format!("+{}", "-".repeat(w + 2)))
        .collect();
    let rule = rule + "+\n";
    let centered = |(text, width): (&String, &usize)| {
        let gap = width - text.chars().count();
        format!(
            "| {}{text}{} ",
            " ".repeat(gap / 2),
            " ".repeat(gap - gap / 2)
        )
    };
    let left = |(text, width): (&String, &usize)| format!("| {text:<width$} ");
    let title: String = header.iter().zip(&widths).map(centered).collect();
    let mut drawn = format!("{rule}{title}|\n{rule}");
    for row in rows {
        drawn.extend(row.iter().zip(&widths).map(left));
        drawn.push_str("|\n");
        if ruled {
            drawn.push_str(&rule);
        }
    }
    if !ruled && !rows.is_empty() {
        drawn.push_str(&rule);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    /// As LXD 5.21's `lxc list` printed it.
    #[test]
    fn a_header_stands_in_the_middle_of_its_column() {
        let header = text(&["NAME", "STATE", "TYPE"]);
        let table = render_ruled(&header, &[text(&["c1", "RUNNING", "CONTAINER"])]);
        let expected = "\
+------+---------+-----------+
| NAME |  STATE  |   TYPE    |
+------+---------+-----------+
| c1   | RUNNING | CONTAINER |
+------+---------+-----------+
";
        assert_eq!(table, expected);
    }
}
