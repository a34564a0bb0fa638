"""Bad calls A01 to A64 of the security design: what each is, and the tests that make it.

Nothing takes a video by address, so what such a server could do (A25, A26, A31 to A34) is tried on the one
way out that there is: the webhooks. That a refusal leaves its line in the log, whatever was tried, is asked
of one refusal of each kind, in ``api/test_log_lines.py``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One bad call, and its tests as ``file::function`` under this folder."""

    id: str
    what: str
    tests: tuple[str, ...]


ATTACKS = (
    Attack("A01", "no key", ("api/test_bad_calls.py::test_a01_no_key",)),
    Attack(
        "A02",
        "malformed key",
        (
            "api/test_bad_calls.py::test_a02_a_malformed_key",
            "api/test_bad_calls.py::test_a02_a_key_in_the_address_is_none",
        ),
    ),
    Attack("A03", "revoked key", ("api/test_bad_calls.py::test_a03_a_revoked_key",)),
    Attack("A04", "expired key", ("api/test_bad_calls.py::test_a04_an_expired_key",)),
    Attack(
        "A05",
        "wrong scope",
        (
            "api/test_bad_calls.py::test_a05_a_key_without_the_scope_is_told_which",
            "api/test_analyses.py::test_a05_each_route_asks_for_its_scope",
        ),
    ),
    Attack(
        "A06",
        "id of another tenant",
        (
            "api/test_bad_calls.py::test_a06_a08_nothing_of_another_tenant_is_seen",
            "api/test_isolation.py::test_a06_a08_no_operation_tells_another_tenant_of_this_one_or_moves_it",
        ),
    ),
    Attack(
        "A07",
        "a thousand guessed ids",
        (
            "api/test_bad_calls.py::test_a07_who_guesses_ids_is_stopped",
            "api/test_log_lines.py::test_a07_who_guesses_ids_is_told_of_by_an_event_of_its_own",
        ),
    ),
    Attack(
        "A08",
        "filter by another tenant",
        (
            "api/test_bad_calls.py::test_a06_a08_nothing_of_another_tenant_is_seen",
            "fakesieve/records/test_analysis_lists.py::test_another_tenant_cannot_be_named",
        ),
    ),
    Attack(
        "A09",
        "fields that are not the caller's",
        ("api/test_bad_calls.py::test_a09_fields_that_are_not_the_callers_are_refused",),
    ),
    Attack(
        "A10",
        "body of 100 MB",
        (
            "api/test_bad_calls.py::test_a10_a_body_of_100_mb_is_not_read",
            "api/test_bad_calls.py::test_a10_a_body_that_does_not_say_its_length_is_cut_off",
        ),
    ),
    Attack(
        "A11",
        "JSON 10,000 deep",
        ("api/test_bodies.py::test_a11_a12_a13_json_that_is_read_in_several_ways_is_refused",),
    ),
    Attack(
        "A12",
        "NaN, 1e999, 2^63",
        (
            "api/test_bodies.py::test_a11_a12_a13_json_that_is_read_in_several_ways_is_refused",
            "fakesieve/filters/test_parse.py::test_what_cannot_be_read_is_told_with_its_place",
        ),
    ),
    Attack(
        "A13",
        "a key twice in JSON",
        ("api/test_bodies.py::test_a11_a12_a13_json_that_is_read_in_several_ways_is_refused",),
    ),
    Attack("A14", "wrong content type", ("api/test_bad_calls.py::test_a14_another_content_type",)),
    Attack(
        "A15",
        "SQL in filter, order and page token",
        (
            "api/test_bad_calls.py::test_a15_sql_in_every_place_is_text",
            "api/test_analyses.py::test_a15_what_is_no_filter_is_refused_with_its_place",
        ),
    ),
    Attack("A16", "tampered page token", ("api/test_bad_calls.py::test_a16_a_tampered_cursor_is_refused",)),
    Attack("A17", "page sizes of -1 and 10^9", ("api/test_bad_calls.py::test_a17_a_page_size_out_of_range",)),
    Attack(
        "A18",
        "script in a title",
        ("api/test_bad_calls.py::test_a18_a19_a20_foreign_text_comes_back_as_text",),
    ),
    Attack(
        "A19",
        "line ends in a name",
        ("api/test_bad_calls.py::test_a18_a19_a20_foreign_text_comes_back_as_text",),
    ),
    Attack(
        "A20",
        "lines forged in the log",
        ("api/test_bad_calls.py::test_a18_a19_a20_foreign_text_comes_back_as_text",),
    ),
    Attack(
        "A21",
        "address of cloud metadata",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A22",
        "address of the broker",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A23",
        "IPv6 loopback",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A24",
        "IPv4 in decimal, octal and hexadecimal",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A25",
        "name that turns inward",
        (
            "workers/test_webhook_post.py::test_a25_the_name_is_looked_up_once_and_the_connection_goes_to_that_address",
            "workers/test_webhook_post.py::test_a25_a_name_that_turns_inward_before_sending_is_not_called",
        ),
    ),
    Attack(
        "A26",
        "redirect inward",
        ("workers/test_webhook_post.py::test_a26_and_a35_no_redirect_is_followed",),
    ),
    Attack(
        "A27",
        "file address",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A28",
        "gopher, ftp and data addresses",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A29",
        "user in an address",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A30",
        "IPv4 mapped into IPv6",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
    Attack(
        "A31",
        "server that drips",
        ("workers/test_webhook_post.py::test_a31_a_receiver_that_drips_its_answer_is_left_in_time",),
    ),
    Attack(
        "A32",
        "server without end",
        (
            "workers/test_webhook_post.py::test_only_the_beginning_of_an_answer_is_read_and_nothing_is_unpacked",
        ),
    ),
    Attack(
        "A33",
        "lying Content-Length",
        (
            "workers/test_webhook_post.py::test_only_the_beginning_of_an_answer_is_read_and_nothing_is_unpacked",
        ),
    ),
    Attack(
        "A34",
        "gzip bomb",
        (
            "workers/test_webhook_post.py::test_only_the_beginning_of_an_answer_is_read_and_nothing_is_unpacked",
        ),
    ),
    Attack(
        "A35",
        "webhook inward, by address and by redirect",
        (
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
            "workers/test_webhook_post.py::test_a26_and_a35_no_redirect_is_followed",
        ),
    ),
    Attack(
        "A36",
        "webhook that sleeps",
        ("workers/test_webhook_post.py::test_a36_a_receiver_that_sleeps_is_left_in_time",),
    ),
    Attack(
        "A37",
        "upload over its size",
        ("api/test_uploads.py::test_a37_a_longer_or_shorter_file_is_not_let_in",),
    ),
    Attack(
        "A38",
        "upload of another type",
        ("api/test_uploads.py::test_a38_a40_another_type_or_key_is_not_let_in",),
    ),
    Attack(
        "A39",
        "upload after its time",
        ("api/test_uploads.py::test_a39_a_form_that_has_expired_lets_nothing_in",),
    ),
    Attack(
        "A40",
        "upload under another key",
        ("api/test_uploads.py::test_a38_a40_another_type_or_key_is_not_let_in",),
    ),
    Attack(
        "A41",
        "complete without an upload",
        ("api/test_uploads.py::test_a41_complete_without_a_file_is_refused",),
    ),
    Attack("A42", "complete twice", ("api/test_uploads.py::test_a42_complete_twice_gives_the_same_answer",)),
    Attack(
        "A43",
        "Idempotency-Key with another body",
        ("api/test_idempotency.py::test_a43_another_body_under_the_key_is_refused",),
    ),
    Attack(
        "A44",
        "Idempotency-Key fifty times at once",
        ("api/test_bad_calls.py::test_a44_one_key_fifty_times_at_once_is_one_job",),
    ),
    Attack(
        "A45",
        "over the rate",
        (
            "api/test_bad_calls.py::test_a45_over_the_rate_is_told_when_to_come_again",
            "api/test_fairness.py::test_slow_requests_of_one_tenant_leave_others_a_turn",
        ),
    ),
    Attack(
        "A46",
        "erasure while a job runs",
        (
            "fakesieve/erasure/test_erase.py::test_a46_a_running_job_goes_too_and_its_worker_writes_nothing_more",
        ),
    ),
    Attack(
        "A47",
        "cancel of a job that has ended",
        ("api/test_bad_calls.py::test_a47_a_job_that_has_ended_is_not_cancelled",),
    ),
    Attack("A48", "list of 100,001 items", ("api/test_bad_calls.py::test_a48_a_list_that_is_too_long",)),
    Attack(
        "A49",
        "TRACE and overridden methods",
        ("api/test_bad_calls.py::test_a49_other_methods_are_refused_and_none_is_overridden",),
    ),
    Attack(
        "A50",
        "tenant names that look alike",
        ("fakesieve/values/test_tenant_names.py::test_a50_no_tenant_is_made_that_looks_like_another",),
    ),
    Attack(
        "A51",
        "code in a checkpoint",
        ("engine/build/test_checkpoint.py::test_code_in_a_file_is_not_run",),
    ),
    Attack(
        "A52",
        "ONNX data outside of the bundle",
        (
            "engine/test_bundle.py::test_a_graph_that_refers_outside_of_the_bundle_is_refused",
            "engine/test_onnx_files.py::test_a_location_is_found_wherever_it_stands",
        ),
    ),
    Attack(
        "A53",
        "manifest with a wrong signature",
        (
            "engine/test_signature.py::test_a_manifest_that_was_changed_after_signing_is_refused",
            "engine/test_signature.py::test_a_stranger_s_signature_is_not_enough",
        ),
    ),
    Attack(
        "A54",
        "pickle in the broker",
        ("workers/test_strangers.py::test_worker_outlives_whatever_lies_in_its_queue",),
    ),
    Attack(
        "A55",
        "unknown task, long arguments, other version",
        (
            "workers/test_strangers.py::test_strange_arguments_are_named",
            "workers/test_strangers.py::test_worker_outlives_whatever_lies_in_its_queue",
        ),
    ),
    Attack(
        "A56",
        "broker without a password",
        ("fakesieve/embedded/test_servers.py::test_valkey_wants_the_password",),
    ),
    Attack(
        "A57",
        "webhook message played again",
        ("fakesieve/webhooks/test_sign.py::test_a57_a_message_of_another_time_is_refused_by_the_receiver",),
    ),
    Attack(
        "A58",
        "times without a zone, leap seconds",
        ("fakesieve/filters/test_parse.py::test_what_cannot_be_read_is_told_with_its_place",),
    ),
    Attack(
        "A59",
        "change under a stale ETag",
        ("api/test_videos.py::test_a59_a_change_under_a_stale_etag_is_refused",),
    ),
    Attack(
        "A60",
        "Range on a download",
        ("api/test_analyses.py::test_a60_a_range_of_an_export_is_the_whole",),
    ),
    Attack(
        "A61",
        "flood of event streams",
        ("api/test_bad_calls.py::test_a61_event_streams_of_a_tenant_are_limited",),
    ),
    Attack("A62", "metrics with a tenant's key", ("api/test_keys.py::test_a62_no_key_reads_the_figures",)),
    Attack(
        "A63",
        "formula in a CSV export",
        (
            "api/test_analyses.py::test_a63_a_formula_is_no_formula_in_csv",
            "api/test_reviews.py::test_a63_no_cell_of_the_export_is_a_formula",
        ),
    ),
    Attack(
        "A64",
        "addresses that parsers split differently",
        (
            "fakesieve/webhooks/test_addresses.py::test_a_url_that_may_lead_inside_is_refused",
            "api/test_webhooks.py::test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused",
        ),
    ),
)
