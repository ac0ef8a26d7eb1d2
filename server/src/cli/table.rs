//! Aligned columns.

/// Columns under headings, two spaces apart; numbers are aligned to the right.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let right: [bool; N] =
        std::array::from_fn(|column| rows.iter().all(|row| is_number(&row[column])) && !rows.is_empty());
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for ((cell, width), right) in cells.into_iter().zip(widths).zip(right) {
            let pad = " ".repeat(width - cell.chars().count());
            line += &if right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
        }
        line.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(headings)).chain(rows).collect::<Vec<_>>().join("\n")
}

/// A number with its thousands apart: `100,000`.
pub fn thousands(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

fn is_number(cell: &str) -> bool {
    cell == "-" || cell.strip_prefix('-').unwrap_or(cell).starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_aligned_left_and_numbers_right() {
        let rows = [["daily", "99,999"], ["ten_seconds", "7"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["LIMIT", "LEFT"], &rows),
            "LIMIT          LEFT\ndaily        99,999\nten_seconds       7"
        );
        assert_eq!(table(["LIMIT", "LEFT"], &[]), "LIMIT  LEFT");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
