//! How each row is measured. What disturbs a measurement fails it, and the table repeats it.

use std::error::Error;

use tollgate_bench::{Ratio, median};

use super::{
    cluster::Cluster,
    disk, h2load,
    measurement::Measurement,
    row::{Figure, beside, micros, thousands},
    stall::Stall,
};

type Measured = Result<Vec<Figure>, Box<dyn Error>>;

/// What all rows are measured with.
pub struct Bench {
    pub cluster: Cluster,
    /// Seconds for which each side of a comparison is loaded.
    pub rounds: u32,
}

impl Bench {
    pub async fn unary(&self) -> Measured {
        let measured = self.measure("acquire --target leader,follower,all --floor").await?;
        let figure = |side, of, whom| {
            let rate = format!("{} a second", thousands(measured.rate(side)));
            let ratio = measured.ratio(side, of);
            Figure { shown: beside(&rate, ratio, whom), value: ratio[0] }
        };
        Ok(vec![
            figure("leader", "of_floor", "the floor"),
            figure("follower", "of_first", "the leader"),
            figure("all", "of_first", "the leader"),
        ])
    }

    pub async fn by_h2load(&self) -> Measured {
        let (leader, floor): (Vec<f64>, Vec<f64>) =
            h2load::pairs(&self.cluster, self.rounds).await?.into_iter().unzip();
        let Ratio { median: middle, least, greatest } =
            Ratio::of(&leader, &floor).ok_or("the floor did nothing")?;
        let rate = format!("{} a second", thousands(median(&leader).unwrap_or(f64::NAN)));
        Ok(vec![Figure { shown: beside(&rate, [middle, least, greatest], "the floor"), value: middle }])
    }

    pub async fn without_load(&self) -> Measured {
        let before = disk::fsync_p50(&self.cluster.data_dir)?;
        let measured = self.measure("acquire --connections 1 --in-flight 1 --floor").await?;
        let fsync = (before + disk::fsync_p50(&self.cluster.data_dir)?) / 2;
        let [leader, floor] = ["leader", "floor"].map(|side| measured.latency(side, "p50"));
        let times = leader.as_secs_f64() / (floor + fsync).as_secs_f64();
        let shown =
            format!("{}: {times:.1} × (echo {} + fsync {})", micros(leader), micros(floor), micros(fsync));
        Ok(vec![Figure { shown, value: times }])
    }

    pub async fn denial(&self) -> Measured {
        let measured = self.measure("deny --floor").await?;
        let rate = format!("{} a second", thousands(measured.rate("leader")));
        let of_floor = measured.ratio("leader", "of_floor");
        Ok(vec![Figure { shown: beside(&rate, of_floor, "the floor"), value: of_floor[0] }])
    }

    pub async fn stream(&self, limits: u32) -> Measured {
        self.per_second(&format!("stream --limits {limits} --floor"), "permits").await
    }

    pub async fn slots(&self) -> Measured {
        self.per_second("lease --per-message 100 --renewals 0 --floor", "pairs").await
    }

    async fn per_second(&self, arguments: &str, what: &str) -> Measured {
        let measured = self.measure(arguments).await?;
        let rate = measured.rate("leader");
        let shown = format!("{} {what} a second", thousands(rate));
        let shown = beside(&shown, measured.ratio("leader", "of_floor"), "the floor");
        Ok(vec![Figure { shown, value: rate }])
    }

    pub async fn many_resources(&self) -> Measured {
        // They cannot take turns, but each takes turns with the floor. With the samples of `tollgate dev`, 99,990 are as many
        // as a cluster holds.
        let one = self.measure("acquire --floor").await?.ratio("leader", "of_floor")[0];
        let many = self.measure("acquire --resources 99990 --floor").await?.ratio("leader", "of_floor")[0];
        let shown = format!("{many:.2} instead of {one:.2} of the floor");
        Ok(vec![Figure { shown, value: many / one }])
    }

    pub async fn open_loop(&self) -> Measured {
        let peak = self.measure("acquire").await?;
        let rate = (peak.rate("leader") / 2.0).floor();
        let measured = self.measure(&format!("acquire --rate {rate}")).await?;
        let [p50, p99] = ["p50", "p99"].map(|quantile| measured.latency("leader", quantile));
        let times = p99.as_secs_f64() / p50.as_secs_f64();
        let shown =
            format!("{} at {} a second: {times:.1} × p50 ({})", micros(p99), thousands(rate), micros(p50));
        Ok(vec![Figure { shown, value: times }])
    }

    pub async fn snapshots(&self) -> Measured {
        let stall = Stall::measure(&self.cluster, self.rounds).await?;
        Ok(vec![Figure { shown: stall.to_string(), value: stall.times() }])
    }

    pub async fn prefetch(&self) -> Measured {
        let rate = self.measure("prefetch").await?.rate("leader");
        Ok(vec![Figure { shown: format!("{} permits a second", thousands(rate)), value: rate }])
    }

    async fn measure(&self, arguments: &str) -> Result<Measurement, Box<dyn Error>> {
        Measurement::take(&self.cluster, &format!("{arguments} --duration {}s", self.rounds)).await
    }
}
