//! The rows of the table, and which of them one measurement tells together.

use std::error::Error;

use super::{
    bench::Bench,
    row::{Figure, Row},
};

/// One measurement, which tells of a row or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Unary,
    ByH2load,
    WithoutLoad,
    Denial,
    Stream,
    StreamOfFourLimits,
    Slots,
    ManyResources,
    OpenLoop,
    Snapshots,
    Prefetch,
}

impl Section {
    /// In the order of the table.
    pub const ALL: [Section; 11] = [
        Section::Unary,
        Section::ByH2load,
        Section::WithoutLoad,
        Section::Denial,
        Section::Stream,
        Section::StreamOfFourLimits,
        Section::Slots,
        Section::ManyResources,
        Section::OpenLoop,
        Section::Snapshots,
        Section::Prefetch,
    ];

    pub fn rows(self) -> &'static [Row] {
        match self {
            Section::Unary => &UNARY,
            Section::ByH2load => &BY_H2LOAD,
            Section::WithoutLoad => &WITHOUT_LOAD,
            Section::Denial => &DENIAL,
            Section::Stream => &STREAM,
            Section::StreamOfFourLimits => &STREAM_OF_FOUR_LIMITS,
            Section::Slots => &SLOTS,
            Section::ManyResources => &MANY_RESOURCES,
            Section::OpenLoop => &OPEN_LOOP,
            Section::Snapshots => &SNAPSHOTS,
            Section::Prefetch => &PREFETCH,
        }
    }

    /// Figures for its rows, in their order.
    pub async fn measure(self, bench: &Bench) -> Result<Vec<Figure>, Box<dyn Error>> {
        match self {
            Section::Unary => bench.unary().await,
            Section::ByH2load => bench.by_h2load().await,
            Section::WithoutLoad => bench.without_load().await,
            Section::Denial => bench.denial().await,
            Section::Stream => bench.stream(1).await,
            Section::StreamOfFourLimits => bench.stream(4).await,
            Section::Slots => bench.slots().await,
            Section::ManyResources => bench.many_resources().await,
            Section::OpenLoop => bench.open_loop().await,
            Section::Snapshots => bench.snapshots().await,
            Section::Prefetch => bench.prefetch().await,
        }
    }
}

static UNARY: [Row; 3] = [
    Row::at_least("unary acquire, 256 in flight, to the leader", 0.65, "≥ 0.65 of the floor"),
    Row::at_least("the same through a follower", 0.80, "≥ 0.80 of the leader"),
    Row::at_least("the same over all three nodes", 0.80, "≥ 0.80 of the leader"),
];

static BY_H2LOAD: [Row; 1] =
    [Row::at_least("unary acquire, 256 in flight, to the leader, by h2load", 0.65, "≥ 0.65 of the floor")];

static WITHOUT_LOAD: [Row; 1] =
    [Row::at_most("unary acquire, 1 in flight, p50", 3.0, "≤ 3 × (echo + fsync)")];

static DENIAL: [Row; 1] = [Row::at_least("denial, exhausted limit", 0.85, "≥ 0.85 of the floor")];

static STREAM: [Row; 1] =
    [Row::at_least("stream, 100 acquires a message, limits: 1", 500_000.0, "≥ 500,000")];

static STREAM_OF_FOUR_LIMITS: [Row; 1] =
    [Row::at_least("stream, 100 acquires a message, limits: 4", 250_000.0, "≥ 250,000")];

static SLOTS: [Row; 1] = [Row::at_least("acquire and release of a slot, stream", 200_000.0, "≥ 200,000")];

static MANY_RESOURCES: [Row; 1] =
    [Row::at_least("unary acquire, 99,990 resources beside 1", 0.9, "falls by ≤ 10 %")];

static OPEN_LOOP: [Row; 1] =
    [Row::at_most("unary acquire, open loop at half the peak, p99", 5.0, "≤ 5 × p50")];

static SNAPSHOTS: [Row; 1] = [Row::at_most(
    "the same with 20,000 resources, while snapshots are written, p99",
    2.0,
    "≤ 2 × the quiet one",
)];

static PREFETCH: [Row; 1] = [Row::at_least("permits taken in advance, one worker", 5e6, "≥ 5,000,000")];
