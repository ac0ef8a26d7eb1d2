//! Lists in one value: `total=100; remaining=99; resets=41`, or `api-usage=25/5000, per-app-api-usage=17/250(appName=x)`.

/// The values of the items with this key, without regard to case. What is in parentheses behind a value, and separators in
/// it, are a comment on that value; quotes around a value are no part of it.
pub fn values<'a>(list: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    split(list).filter_map(move |item| {
        let (name, value) = item.split_once('=')?;
        let value = value.split('(').next().unwrap_or(value).trim();
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim_matches('"'))
    })
}

/// At commas and semicolons that are not in parentheses.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    list.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(character, ',' | ';')
    })
}
