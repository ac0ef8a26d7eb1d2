//! Golden scripts: one rule a file, told as a story and named by what it claims. `UPDATE_GOLDENFILES=1 cargo test` writes
//! what the queue does now below each `---`; read the difference before you keep it.

mod language;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() -> std::io::Result<()> {
            goldenscript::run(&mut language::Script::default(), concat!("tests/scripts/", stringify!($name)))
        })*

        #[test]
        fn every_script_is_run() -> std::io::Result<()> {
            for file in std::fs::read_dir("tests/scripts")? {
                let name = file?.file_name();
                assert!([$(stringify!($name)),*].iter().any(|listed| name == *listed), "{name:?} is not listed");
            }
            Ok(())
        }
    };
}

scripts! {
    a_result_is_had_by_all_that_wait_for_it
    a_failed_call_is_the_next_ones
    a_crashed_caller_is_waited_out
    nobody_waits_for_a_limit_beside_a_result
    who_waits_for_a_call_holds_no_limit
    what_a_vendor_wants_is_waited_out
    what_was_held_comes_back_one_by_one
    a_reserve_is_had_before_what_all_share
    a_cancelled_head_wakes_the_next
    a_changed_definition_is_waited_by
    a_full_queue_turns_away
    a_grant_that_nobody_received_goes_to_the_next
    a_newcomer_does_not_overtake
    a_pace_that_is_over_holds_nobody
    a_pause_is_waited_out
    a_retry_keeps_its_turn
    a_small_request_does_not_starve_a_large_one
    a_wait_ends_with_patience
    an_id_beside_a_result_is_free_for_another_request
    an_id_that_was_used_elsewhere_takes_nothing
    an_open_key_is_had_beside_one_that_waits_for_another
    any_key_or_one
    clocks_that_jump_let_nobody_wait
    equal_consumers_share_equally_by_cost
    high_priority_goes_first
    idle_time_earns_nothing
    limits_that_bind_by_turns_share_fairly
    nobody_goes_while_a_proposal_is_on_its_way
    probes_and_paces_keep_the_order
    search_does_not_hold_others
    shadow_limits_hold_nobody
    slots_and_bucket_free_at_the_exact_moment
    the_oldest_has_every_fourth_permit
    the_first_alternative_that_frees
    twins_go_together
    two_limits_that_are_never_free_together
    what_never_fits_keeps_nobody_waiting
}
