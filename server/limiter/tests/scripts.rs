//! Golden scripts: one behaviour a file, named by what it claims. `UPDATE_GOLDENFILES=1 cargo test` writes what the
//! limiter does now below each `---`; read the difference before you keep it.

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
    an_operation_costs_what_the_resource_says
    a_call_without_a_result_is_the_next_ones
    a_crashed_holder_keeps_a_call_for_its_lease_and_grace
    a_retry_of_a_coalesced_request_has_its_permit
    deleting_a_resource_forgets_its_calls
    invalidation_leaves_no_result_from_before
    malformed_results_name_the_field
    one_call_is_made_for_all_that_want_the_same
    a_circuit_opens_and_is_closed_by_probes
    a_circuit_opens_for_longer_each_time
    a_circuit_closes_when_no_probe_fails
    failures_far_apart_are_not_in_a_row
    a_failing_key_is_passed_over
    a_pause_ends_with_a_ramp
    a_probe_gives_up_its_place
    a_call_of_which_nobody_knows_counts_for_nothing
    a_share_of_failures_opens_a_circuit
    a_limit_of_the_vendor_below_ours_tightens_ours
    an_exhausted_operation_waits_alone
    a_limit_that_was_held_comes_back_by_a_ramp
    a_report_tells_who_called
    a_limit_that_a_refusal_names_is_held_until_it_has_room
    what_a_vendor_charged_more_for_weighs_more
    what_others_use_is_debited
    what_is_told_late_is_left_aside
    malformed_circuits_and_feedback_name_the_field
    refusals_lower_the_pace
    reports_count_once_and_in_the_order_of_the_permits
    what_a_vendor_wants_holds_for_all
    a_changed_budget_never_refills
    a_denial_says_when_a_budget_was_the_reason
    a_reserve_is_kept
    a_ceiling_holds_a_budget
    a_window_that_opens_with_a_request_is_one_for_all_budgets
    borrowing_does_not_cost_the_guarantee
    budgets_are_refunded_and_settled
    budgets_by_key_are_shares_of_each_key
    budgets_keep_their_hours
    budgets_survive_a_snapshot
    malformed_budgets_name_the_field
    the_quota_of_the_day_is_kept_for_who_opens_later
    the_unbudgeted_cannot_starve_the_rest
    what_is_not_reserved_is_for_all
    a_call_near_a_boundary_counts_on_both_sides
    a_vendor_can_be_disregarded
    a_window_that_has_passed_gives_nothing_back
    a_denial_debits_nothing
    a_held_slot_counts_after_a_while
    a_grant_that_nobody_received_is_given_back
    a_grant_that_a_retry_received_stays
    a_limit_that_keeps_its_name_keeps_its_kind
    a_refusal_says_what_the_log_would
    a_stale_generation_is_refused
    all_limits_or_none
    alternatives_are_taken_in_order
    alternatives_are_checked_before_any_is_taken
    alternatives_deny_with_the_soonest
    alternatives_replay_the_one_that_was_taken
    an_update_does_not_stop_releases
    another_body_under_a_request_id_is_refused
    cost_above_what_could_ever_be_granted_is_invalid
    daily_windows_begin_at_midnight_in_their_zone
    deleting_and_creating_resets
    denials_are_not_remembered
    dimensions_weigh_what_is_named
    expired_permit_never_revives
    expired_slot_is_kept_for_grace_and_quarantine
    idle_scope_values_make_room
    disabled_keys_are_not_renewed
    draining_keys_finish
    keys_with_most_headroom_first
    malformed_resources_name_the_field
    not_sent_refunds
    orders_are_checked_and_change_nothing_else
    orders_survive_updates_and_snapshots
    paused_keys_are_skipped
    pauses_deny_and_touch_no_permit
    pauses_end_exactly
    operations_select_limits
    permits_can_be_settled_for_a_while
    released_slot_is_free_at_once
    renewing_never_shortens_a_lease
    request_ids_are_remembered_for_ten_minutes
    resuming_ends_what_came_of_all_keys
    retried_request_spends_nothing
    retry_after_is_exact
    retry_after_suits_all_limits_together
    scoped_limits_count_each_value
    settlement_corrects_the_cost
    shadow_limit_reports_and_never_denies
    slots_are_the_smallest_free_and_generations_rise
    state_survives_a_snapshot
    the_limit_that_frees_last_binds
    the_shortest_default_lease_counts
    update_never_refills
    use_within_is_told_where_windows_apply
}
