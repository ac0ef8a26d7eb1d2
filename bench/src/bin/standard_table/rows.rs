//! The rows, and their targets.

use std::{error::Error, time::Duration};

use tollgate_bench::Ratio;

use super::{cluster::Cluster, disk, h2load, measurement::Measurement, stall::Stall};

type Done = Result<(), Box<dyn Error>>;

/// A table in the making.
pub struct Table {
    pub cluster: Cluster,
    pub rounds: u32,
    pub only: String,
}

/// How a figure must stand to its target.
enum Target {
    AtLeast(f64, String),
    AtMost(f64, String),
}

impl Table {
    /// Measures and prints all rows.
    pub async fn print(&self) -> Done {
        self.unary().await?;
        self.by_h2load().await?;
        self.without_load().await?;
        self.denial().await?;
        self.streams().await?;
        self.slots().await?;
        self.many_resources().await?;
        self.open_loop().await?;
        self.snapshots().await?;
        self.prefetch().await
    }

    async fn unary(&self) -> Done {
        if self.leaves_out("unary acquire, 256 in flight") {
            return Ok(());
        }
        let measured = self.measure("acquire --target leader,follower,all --floor").await?;
        let rate = format!("{} a second", thousands(measured.rate("leader")));
        let of_floor = measured.ratio("leader", "of_floor");
        row(
            "unary acquire, 256 in flight, to the leader",
            &beside(&rate, of_floor, "the floor"),
            of_floor[0],
            &at_least_ratio(0.65, "the floor"),
        );
        for (side, case) in
            [("follower", "the same through a follower"), ("all", "the same over all three nodes")]
        {
            let rate = format!("{} a second", thousands(measured.rate(side)));
            let of_leader = measured.ratio(side, "of_first");
            row(
                case,
                &beside(&rate, of_leader, "the leader"),
                of_leader[0],
                &at_least_ratio(0.80, "the leader"),
            );
        }
        Ok(())
    }

    async fn by_h2load(&self) -> Done {
        let case = "unary acquire, 256 in flight, to the leader, by h2load";
        if self.leaves_out(case) {
            return Ok(());
        }
        if !h2load::is_installed().await {
            eprintln!("h2load (nghttp2-client) is not installed: its row is left out");
            return Ok(());
        }
        let (leader, floor): (Vec<f64>, Vec<f64>) =
            h2load::pairs(&self.cluster, self.rounds).await?.into_iter().unzip();
        let Ratio { median, least, greatest } = Ratio::of(&leader, &floor).ok_or("the floor did nothing")?;
        let fastest = leader.iter().copied().fold(0.0, f64::max);
        let rate = format!("up to {} a second", thousands(fastest));
        row(
            case,
            &beside(&rate, [median, least, greatest], "the floor"),
            median,
            &at_least_ratio(0.65, "the floor"),
        );
        Ok(())
    }

    async fn without_load(&self) -> Done {
        let case = "unary acquire, 1 in flight, p50";
        if self.leaves_out(case) {
            return Ok(());
        }
        let before = disk::fsync_p50(&self.cluster.data_dir)?;
        let measured = self.measure("acquire --connections 1 --in-flight 1 --floor").await?;
        let fsync = (before + disk::fsync_p50(&self.cluster.data_dir)?) / 2;
        let [leader, floor] = ["leader", "floor"].map(|side| measured.latency(side, "p50"));
        let times = leader.as_secs_f64() / (floor + fsync).as_secs_f64();
        let parts =
            format!("{}: {times:.1} × (echo {} + fsync {})", micros(leader), micros(floor), micros(fsync));
        row(case, &parts, times, &Target::AtMost(3.0, "≤ 3 × (echo + fsync)".to_owned()));
        Ok(())
    }

    async fn denial(&self) -> Done {
        let case = "denial, exhausted limit";
        if self.leaves_out(case) {
            return Ok(());
        }
        let measured = self.measure("deny --floor").await?;
        let rate = format!("{} a second", thousands(measured.rate("leader")));
        let of_floor = measured.ratio("leader", "of_floor");
        row(case, &beside(&rate, of_floor, "the floor"), of_floor[0], &at_least_ratio(0.85, "the floor"));
        Ok(())
    }

    async fn streams(&self) -> Done {
        for (limits, target) in [(1, 500_000.0), (4, 250_000.0)] {
            let case = format!("stream, 100 acquires a message, limits: {limits}");
            if self.leaves_out(&case) {
                continue;
            }
            let measured = self.measure(&format!("stream --limits {limits} --floor")).await?;
            self.per_second(&case, &measured, "permits", target);
        }
        Ok(())
    }

    async fn slots(&self) -> Done {
        let case = "acquire and release of a slot, stream";
        if self.leaves_out(case) {
            return Ok(());
        }
        let measured = self.measure("lease --per-message 100 --renewals 0 --floor").await?;
        self.per_second(case, &measured, "pairs", 200_000.0);
        Ok(())
    }

    fn per_second(&self, case: &str, measured: &Measurement, what: &str, target: f64) {
        let rate = measured.rate("leader");
        let figure = format!("{} {what} a second", thousands(rate));
        let figure = beside(&figure, measured.ratio("leader", "of_floor"), "the floor");
        row(case, &figure, rate, &Target::AtLeast(target, format!("≥ {}", thousands(target))));
    }

    async fn many_resources(&self) -> Done {
        let case = "unary acquire, 100,000 resources beside 1";
        if self.leaves_out(case) {
            return Ok(());
        }
        // They cannot take turns, but each takes turns with the floor.
        let one = self.measure("acquire --floor").await?.ratio("leader", "of_floor")[0];
        let many = self.measure("acquire --resources 100000 --floor").await?.ratio("leader", "of_floor")[0];
        let measured = format!("{many:.2} instead of {one:.2} of the floor");
        row(case, &measured, many / one, &Target::AtLeast(0.9, "falls by ≤ 10 %".to_owned()));
        Ok(())
    }

    async fn open_loop(&self) -> Done {
        let case = "unary acquire, open loop at half the peak, p99";
        if self.leaves_out(case) {
            return Ok(());
        }
        let seconds = self.rounds;
        let peak = Measurement::take(&self.cluster, &format!("acquire --duration {seconds}s")).await?;
        let rate = (peak.rate("leader") / 2.0).floor();
        let arguments = format!("acquire --rate {rate} --duration {seconds}s");
        let measured = Measurement::take(&self.cluster, &arguments).await?;
        let [p50, p99] = ["p50", "p99"].map(|quantile| measured.latency("leader", quantile));
        let times = p99.as_secs_f64() / p50.as_secs_f64();
        let figure =
            format!("{} at {} a second: {times:.1} × p50 ({})", micros(p99), thousands(rate), micros(p50));
        row(case, &figure, times, &Target::AtMost(5.0, "≤ 5 × p50".to_owned()));
        Ok(())
    }

    async fn snapshots(&self) -> Done {
        let case = "the same with 20,000 resources, while snapshots are written, p99";
        if self.leaves_out(case) {
            return Ok(());
        }
        let stall = Stall::measure(&self.cluster, self.rounds).await?;
        row(case, &stall.to_string(), stall.times(), &Target::AtMost(2.0, "≤ 2 × the quiet one".to_owned()));
        Ok(())
    }

    async fn prefetch(&self) -> Done {
        let case = "permits taken in advance, one worker";
        if self.leaves_out(case) {
            return Ok(());
        }
        let rate = self.measure("prefetch").await?.rate("leader");
        let figure = format!("{} permits a second", thousands(rate));
        row(case, &figure, rate, &Target::AtLeast(5e6, "≥ 5,000,000".to_owned()));
        Ok(())
    }

    async fn measure(&self, arguments: &str) -> Result<Measurement, Box<dyn Error>> {
        Measurement::take(&self.cluster, &format!("{arguments} --duration {}s", self.rounds)).await
    }

    fn leaves_out(&self, case: &str) -> bool {
        !case.contains(&self.only)
    }
}

fn at_least_ratio(ratio: f64, of: &str) -> Target {
    Target::AtLeast(ratio, format!("≥ {ratio:.2} of {of}"))
}

fn beside(rate: &str, [median, least, greatest]: [f64; 3], of: &str) -> String {
    format!("{rate}: **{median:.2}** of {of} ({least:.2} to {greatest:.2})")
}

fn row(case: &str, measured: &str, figure: f64, target: &Target) {
    let (is_met, target) = match target {
        Target::AtLeast(least, target) => (figure >= *least, target),
        Target::AtMost(most, target) => (figure <= *most, target),
    };
    println!("| {case} | {measured} | {target} | {} |", if is_met { "met" } else { "missed" });
}

pub fn micros(duration: Duration) -> String {
    format!("{} µs", thousands(duration.as_micros() as f64))
}

/// `45,678`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let head = digits.len() % 3;
    let groups = digits.as_bytes()[head..].chunks(3).map(String::from_utf8_lossy);
    let first = (head > 0).then(|| digits[..head].into());
    first.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_apart_by_thousands() {
        for (number, expected) in [(0.0, "0"), (999.4, "999"), (45_678.0, "45,678"), (123_456.0, "123,456")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
