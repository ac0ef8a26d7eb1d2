//! The table in the making: measures row by row, repeats what was disturbed, and prints each row as soon as it is known, with
//! what became of the processors' time meanwhile.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    bench::Bench,
    h2load,
    processors::{Processors, Shares},
    row::Figure,
    sections::Section,
};

/// How often a row is tried. What fails so often is not chance, and has no figure.
const ATTEMPTS: u32 = 3;

/// Before another attempt: for a new leader, or whatever it was.
const PAUSE: Duration = Duration::from_secs(5);

/// What is to be printed.
pub struct Table {
    pub bench: Bench,
    /// Only rows whose case contains this.
    pub only: String,
}

impl Table {
    /// Measures and prints all rows. Returns how many could not be measured.
    pub async fn print(&self) -> usize {
        match Processors::now() {
            Some(_) => println!("| case | measured | target | | stolen, idle |\n|---|---|---|---|---|"),
            None => println!("| case | measured | target | |\n|---|---|---|---|"),
        }
        let mut failed = 0;
        for section in Section::ALL {
            if !self.is_wanted(section) {
                continue;
            }
            if section == Section::ByH2load && !h2load::is_installed().await {
                eprintln!("h2load (nghttp2-client) is not installed: its row is left out");
                continue;
            }
            failed += self.print_rows(section).await;
        }
        failed
    }

    fn is_wanted(&self, section: Section) -> bool {
        section.rows().iter().any(|row| row.case.contains(&self.only))
    }

    async fn print_rows(&self, section: Section) -> usize {
        let (measured, meanwhile) = self.measure(section).await;
        let rows = section.rows();
        let lines: Vec<String> = match &measured {
            Ok(figures) => rows.iter().zip(figures).map(|(row, figure)| row.measured(figure)).collect(),
            Err(problem) => rows.iter().map(|row| row.failed(problem)).collect(),
        };
        let meanwhile = meanwhile.map(column).unwrap_or_default();
        for line in &lines {
            println!("{line}{meanwhile}");
        }
        if measured.is_ok() { 0 } else { lines.len() }
    }

    /// Tries until nothing disturbs it, but not for ever. With the last attempt, what became of the processors' time in it.
    async fn measure(&self, section: Section) -> (Result<Vec<Figure>, String>, Option<Shares>) {
        let mut attempt = 1;
        loop {
            let before = Processors::now();
            let measured = self.attempt(section).await;
            let meanwhile = before.zip(Processors::now()).and_then(|(before, now)| before.until(now));
            match measured {
                Err(problem) if attempt < ATTEMPTS => {
                    let case = section.rows()[0].case;
                    eprintln!(
                        "{case}: attempt {attempt} of {ATTEMPTS} does not count, it is repeated: {problem}"
                    );
                    attempt += 1;
                    sleep(PAUSE).await;
                }
                measured => return (measured, meanwhile),
            }
        }
    }

    async fn attempt(&self, section: Section) -> Result<Vec<Figure>, String> {
        let figures = section.measure(&self.bench).await.map_err(|error| error.to_string())?;
        match figures.iter().all(|figure| figure.value.is_finite()) {
            true => Ok(figures),
            false => Err("one of the sides did nothing for a second".to_owned()),
        }
    }
}

fn column(Shares { stolen, idle }: Shares) -> String {
    format!(" {stolen:.0} %, {idle:.0} % |")
}
