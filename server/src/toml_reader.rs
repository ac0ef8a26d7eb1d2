//! Reads TOML so that *all* faults of a file are told at once, each with its line and its key, and an unknown key with the
//! nearest known one. Deserializing with serde would stop at the first.

use std::{collections::BTreeSet, fmt, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing that is wrong in a file (or, without a line, in a flag or an environment variable).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1 on.
    pub line: Option<usize>,
    /// The key's path, such as `resource[2].limit[0].period`; empty when the text is not TOML at all.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.key.as_str() {
            "" => write!(f, "{}", self.problem),
            key => write!(f, "{key}: {}", self.problem),
        }
    }
}

/// A parsed file, and what was found wrong in it so far.
pub struct Reader<'i> {
    text: &'i str,
    faults: Vec<Fault>,
}

/// A table that is being read: remembers which keys were asked for, so that [`Reader::finish`] can refuse the others.
pub struct Section<'t, 'i> {
    path: String,
    table: &'t DeTable<'i>,
    offset: usize,
    asked: BTreeSet<String>,
}

/// Parses the text as far as TOML's grammar goes.
pub fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, Fault> {
    DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line_of(text, span.start)),
        key: String::new(),
        problem: format!("this is not TOML: {}", error.message()),
    })
}

impl<'i> Reader<'i> {
    /// Nothing wrong so far.
    pub fn new(text: &'i str) -> Reader<'i> {
        Reader { text, faults: Vec::new() }
    }

    /// All that was found wrong, by line.
    pub fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.line);
        self.faults
    }

    /// The table under a key.
    pub fn section<'t>(&mut self, of: &mut Section<'t, 'i>, key: &str) -> Option<Section<'t, 'i>> {
        let value = of.take(key)?;
        self.table(value, of.path_of(key))
    }

    /// The tables of an array under a key, such as `[[resource]]`.
    pub fn sections<'t>(&mut self, of: &mut Section<'t, 'i>, key: &str) -> Vec<Section<'t, 'i>> {
        let items = self.array(of, key).unwrap_or_default();
        items.into_iter().filter_map(|(path, value)| self.table(value, path)).collect()
    }

    /// Anything that reads from a text, such as a duration or an address.
    pub fn text<T>(&mut self, of: &mut Section<'_, 'i>, key: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let value = of.take(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(of.path_of(key), value, "a text in quotes");
            return None;
        };
        text.parse().map_err(|error| self.fault(of.path_of(key), value.span().start, error)).ok()
    }

    /// An integer that fits its type.
    pub fn integer<T: TryFrom<i64>>(&mut self, of: &mut Section<'_, 'i>, key: &str) -> Option<T> {
        let value = of.take(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(of.path_of(key), value, "an integer");
            return None;
        };
        let parsed = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = parsed.and_then(|integer| T::try_from(integer).ok());
        if fitting.is_none() {
            self.fault(of.path_of(key), value.span().start, "is negative or too large");
        }
        fitting
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, of: &mut Section<'_, 'i>, key: &str) -> Option<bool> {
        let value = of.take(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(of.path_of(key), value, "true or false");
        }
        boolean
    }

    /// A list of texts.
    pub fn texts(&mut self, of: &mut Section<'_, 'i>, key: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for (path, value) in self.array(of, key)? {
            match value.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong_type(path, value, "a text in quotes"),
            }
        }
        Some(texts)
    }

    /// One of a few words; gives its meaning.
    pub fn word<T: Copy>(&mut self, of: &mut Section<'_, 'i>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text: String = self.text(of, key)?;
        let meaning = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if meaning.is_none() {
            let hint = unknown(&text, words.iter().map(|(word, _)| *word));
            self.reject(of, key, hint);
        }
        meaning
    }

    /// Records that what a key holds is wrong for a reason that only its owner knows.
    pub fn reject(&mut self, of: &Section<'_, 'i>, key: &str, problem: impl fmt::Display) {
        let offset = of.table.get(key).map_or(of.offset, |value| value.span().start);
        self.fault(of.path_of(key), offset, problem);
    }

    /// Refuses the keys that nobody asked for.
    pub fn finish(&mut self, section: Section<'_, 'i>) {
        for key in section.table.keys() {
            let name = key.get_ref().as_ref();
            if !section.asked.contains(name) {
                let hint = meant(name, section.asked.iter().map(String::as_str));
                self.fault(section.path_of(name), key.span().start, format_args!("unknown key; {hint}"));
            }
        }
    }

    fn array<'t>(
        &mut self,
        of: &mut Section<'t, 'i>,
        key: &str,
    ) -> Option<Vec<(String, &'t Spanned<DeValue<'i>>)>> {
        let value = of.take(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(of.path_of(key), value, "a list");
            return None;
        };
        let path = of.path_of(key);
        Some(items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect())
    }

    fn table<'t>(&mut self, value: &'t Spanned<DeValue<'i>>, path: String) -> Option<Section<'t, 'i>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(path, value, "a table");
            return None;
        };
        Some(Section { path, table, offset: value.span().start, asked: BTreeSet::new() })
    }

    fn wrong_type(&mut self, key: String, value: &Spanned<DeValue<'i>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.fault(key, value.span().start, format_args!("must be {wanted}, not {found}"));
    }

    fn fault(&mut self, key: String, offset: usize, problem: impl fmt::Display) {
        let line = Some(line_of(self.text, offset));
        self.faults.push(Fault { line, key, problem: problem.to_string() });
    }
}

impl<'t, 'i> Section<'t, 'i> {
    /// A whole file.
    pub fn root(table: &'t Spanned<DeTable<'i>>) -> Section<'t, 'i> {
        Section { path: String::new(), table: table.get_ref(), offset: 0, asked: BTreeSet::new() }
    }

    /// The line on which it begins.
    pub fn line(&self, reader: &Reader<'i>) -> usize {
        line_of(reader.text, self.offset)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a key is there, and is `true` or `false`.
    pub fn has_boolean(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_bool().is_some())
    }

    fn take(&mut self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.asked.insert(key.to_owned());
        self.table.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

/// Says that a word is not known, and which of the known ones was probably meant, or all of them.
pub fn unknown<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("`{word}` is not known here; {}", meant(word, known))
}

fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    // Spelling alone would not lead from `period` to `refill_period`.
    let is_part = |known: &&&str| ends_with_word(known, word) || ends_with_word(word, known);
    let likeness = |known: &str| strsim::jaro_winkler(word, known);
    let alike = || known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = known.iter().find(is_part).or_else(|| alike().filter(|near| likeness(near) > 0.75));
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are `{}`", known.join("`, `")),
    }
}

/// Whether a name of several words, such as `refill_period`, ends with this one.
fn ends_with_word(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|before| before.ends_with('_'))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
