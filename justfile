# Tollgate's chores. `just` alone lists them.

_default:
    @just --list

# Three nodes on loopback with sample resources, and the lines to paste next
cluster *ARGS:
    cargo run --release -- dev {{ ARGS }}

# What is quick to check before a change is pushed, and changes nothing; `just ci` is all
verify:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
    cargo test --workspace
    tests/python/run
    cargo deny check

# Formats, and applies what clippy can mend by itself
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# A fleet that calls a vendor like HubSpot with backoff alone, then through three nodes
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# What a vendor sees of 200 workers in four processes, for minutes, with 50,000 that wait; the tests have a short form
e2e *ARGS:
    cargo build --release --workspace --bins
    TOLLGATE_E2E_LONG=1 TOLLGATE="$PWD/target/release/tollgate" TOLLGATE_CREW="$PWD/target/release/crew" \
        cargo test --workspace --test vendor -- --nocapture --test-threads 1 {{ ARGS }}

# What CI runs
ci:
    bash .ci/run

# Leaders killed with kill -9 under load by Python clients
kill-leaders COUNT="10":
    TOLLGATE_LEADER_KILLS={{ COUNT }} tests/python/run test_leader_kill.py

# Random faults on simulated clusters, seed by seed; a failure names its seed
faults FIRST="1" COUNT="1000":
    TOLLGATE_SEED={{ FIRST }} TOLLGATE_SEEDS={{ COUNT }} cargo test --package tollgate-server --test replica whatever

# Real processes under random faults for so many minutes; writes a report
torture MINUTES="10" SEED="" REPORT="target/torture.md":
    cargo build --release --workspace --bins
    target/release/torture {{ MINUTES }} --seed "{{ SEED }}" --report {{ REPORT }}

# The whole table: throughput and latency on three fresh nodes, the limiter alone, the idle cluster. With arguments only the first of them: `just bench --only stream` for the rows with that in their name
bench *ARGS:
    #!/usr/bin/env bash
    set -u
    cargo build --release --workspace --bins || exit
    status=0
    target/release/standard-table {{ ARGS }} || status=$?
    if [ -z {{ quote(ARGS) }} ]; then
        # One after the other, each also after one that failed.
        {{ quote(just_executable()) }} bench-limiter --max-time 0.5 || status=$?
        {{ quote(just_executable()) }} bench-idle || status=$?
    fi
    exit "$status"

# What one wake-up costs with up to 100,000 that wait, and what each of them takes of memory
bench-queue *ARGS:
    cargo bench --package tollgate-waiting --bench wake_up -- {{ ARGS }}

# What it costs three real nodes to have up to 100,000 requests wait
bench-parked:
    cargo build --release
    TOLLGATE="$PWD/target/release/tollgate" cargo bench --profile dev --package tollgate-tests --bench parked

# What a decision costs in the limiter alone, without log, network and disk, and what an idle resource takes
bench-limiter *ARGS:
    cargo bench --package tollgate-limiter --bench acquire -- {{ ARGS }}

# What one of each thing in the limiter's state takes of memory
bench-memory:
    cargo bench --profile dev --package tollgate-limiter --bench memory

# What a durable write costs in the log, beside the least that any log could do
bench-log:
    cargo bench --profile simulation --package tollgate-server --bench log

# What three real nodes cost that have nothing to do, 10,000 idle connections too, and how long one takes to come back
bench-idle:
    cargo build --release --workspace --bins
    ulimit -n "$(ulimit -Hn)" && TOLLGATE="$PWD/target/release/tollgate" \
        cargo bench --profile simulation --package tollgate-tests --bench idle

# How fast permits are handed out that were taken in advance; optimised, with assertions
bench-prefetch:
    cargo bench --profile simulation --package tollgate-tests --bench prefetch

# Whole clusters under random faults, judged by checkers: a thousand fresh seeds, or one told (`just simulate 7`, `--scenario FILE`, `--help`)
simulate *ARGS:
    cargo run --profile simulation --package tollgate-tests --bin simulate -- {{ ARGS }}

# Bugs seeded in a copy of the tree: the simulator's checkers must catch each (--afresh: from the first seed on)
mutants *ARGS:
    tests/mutants/run {{ ARGS }}
