"""Every public name of `overlapped.stackless` and of what came with Stackless, and the test that shows its rules.

The rows are checked: a name without one fails, and so does one whose test is not there any more, or does not use it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from overlapped import stackless
from overlapped.stackless import channel, stacklessfile, stacklesssocket, tasklet

TASKLETS = {
    "its_states": "alive paused scheduled",
    "flags_return_what_they_were": "atomic ignore_nesting set_atomic set_ignore_nesting",
    "bind_gives_it_another_function_and_none_takes_it_away": "bind setup",
    "bind_thread_gives_one_that_has_not_started_to_another_thread": "bind_thread",
    "block_trap_forbids_a_wait_on_a_channel": "block_trap",
    "one_that_waits_for_the_port_is_blocked": "blocked",
    "the_context_of_one_that_has_not_begun_can_be_set_and_looked_into": "context_id context_run set_context",
    "frame_and_recursion_depth_are_those_of_its_own_code": "frame nesting_level recursion_depth",
    "remove_takes_it_out_of_the_queue_and_insert_puts_it_last": "insert remove",
    "is_main_and_is_current_tell_who_runs": "is_current is_main",
    "kill_ends_it_at_once_wherever_it_is": "kill TaskletExit",
    "next_and_prev_go_round_the_ring": "next prev",
    "the_one_that_runs_has_the_tracer_of_the_thread_and_others_say_so": "profile_function trace_function",
    "throw_raises_what_it_is_given_in_each_of_its_forms": "raise_exception throw",
    "one_that_has_not_started_can_be_pickled_and_one_that_has_says_why_not": "restorable",
    "run_goes_to_it_at_once_and_those_before_it_come_last": "run",
    "switch_pauses_the_caller_until_somebody_runs_it": "switch",
    "what_is_bound_is_its_tempval_until_it_is_set_up": "tempval",
    "a_tasklet_of_a_thread_that_has_ended_says_so": "thread_id",
    "a_call_sets_it_up_and_it_runs_when_the_others_have": "tasklet",
}
CHANNELS = {
    "a_send_waits_for_a_receive_and_a_receive_for_a_send": "balance channel receive send",
    "a_closed_channel_lets_nobody_wait_and_those_that_do_can_be_met": "close closed closing open",
    "with_preference_1_the_sender_runs_on": "preference",
    "the_queue_is_in_the_order_of_their_coming_and_goes_on_by_next": "queue",
    "schedule_all_lets_all_others_run_whatever_the_preference": "schedule_all",
    "send_exception_and_send_throw_raise_in_the_receiver": "send_exception send_throw",
    "send_sequence_sends_each_and_says_how_many": "send_sequence",
    "the_callback_is_told_of_each_action_before_it": "get_channel_callback set_channel_callback",
}
RUN = {
    "one_that_is_atomic_is_left_alone_by_the_time_out": "atomic",
    "the_module_has_what_is_asked_often_as_attributes": (
        "current enable_softswitch get_thread_info getcurrent getcurrentid getmain main threads"
    ),
    "the_schedule_callback_is_told_of_switches": "get_schedule_callback set_schedule_callback",
    "what_has_nothing_to_do_here_is_kept_for_programs_that_ask": (
        "debug getdebug getthreads getuncollectables pickle_with_tracing_state stackless uncollectables"
    ),
    "the_flags_of_pickling_are_kept_and_those_that_are_none_are_refused": (
        "PICKLEFLAGS_PICKLE_CONTEXT PICKLEFLAGS_PRESERVE_AG_FINALIZER PICKLEFLAGS_PRESERVE_TRACING_STATE "
        "PICKLEFLAGS_RESET_AG_FINALIZER pickle_flags pickle_flags_default"
    ),
    "getruncount_counts_the_queue_and_the_one_that_runs": "getruncount runcount",
    "run_ends_when_nobody_is_ready_and_leaves_those_that_wait_on_channels": "run",
    "schedule_returns_the_tasklet_or_what_it_is_given_or_what_another_has_put_there": "schedule",
    "schedule_remove_pauses_the_caller": "schedule_remove",
    "the_error_handler_gets_what_ends_a_tasklet_and_what_it_raises_reaches_main": "set_error_handler",
    "the_switch_trap_refuses_what_would_switch": "switch_trap",
}
WHAT_CAME_WITH_IT = {
    "a_program_for_stackless_imports_what_it_did": "pose",
    "a_second_install_is_refused_and_uninstall_takes_it_back": "install uninstall",
    "a_blocking_socket_is_the_standard_librarys_whatever_is_installed": "make_blocking_socket",
    "it_can_be_used_in_the_place_of_socket": "can_timeout ready_to_schedule",
    "without_the_manager_run_ends_though_somebody_waits_for_the_port": "StartManager StopManager pump",
    "stacklessfile_stands_in_for_file": "stacklessfile",
}
TABLE = {
    "test_stackless_tasklets.py": TASKLETS,
    "test_stackless_channels.py": CHANNELS,
    "test_stackless_run.py": RUN,
    "test_stacklesssocket.py": WHAT_CAME_WITH_IT,
}
UNSAID = {"pose"}
"""What a test uses by an option of the command line."""


def rows(*tables: dict[str, str]) -> set[str]:
    return {name for table in tables for names in table.values() for name in names.split()}


def public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def words(test: ast.FunctionDef, source: str) -> set[str]:
    """What a test says, its marks with it."""
    parts = [*test.decorator_list, test]
    return set(re.findall(r"\w+", " ".join(ast.get_source_segment(source, part) or "" for part in parts)))


def test_every_public_name_has_a_row():
    # Channel.throw is the engine's.
    kinds = public(dir(tasklet)) | (public(dir(channel)) - {"throw"}) | {"schedule_all"}
    assert kinds - rows(TASKLETS, CHANNELS) == set()
    module = set(stackless.__all__) | set(stackless._ATTRIBUTES)
    assert module - rows(*TABLE.values()) == set()
    assert set(stacklesssocket.__all__) | set(stacklessfile.__all__) <= rows(WHAT_CAME_WITH_IT)


def test_no_row_is_of_a_name_that_is_not_there():
    there = public(dir(tasklet)) | public(dir(channel)) | {"schedule_all"} | set(stackless.__all__)
    there |= set(stackless._ATTRIBUTES) | set(stacklesssocket.__all__) | set(stacklessfile.__all__)
    assert rows(*TABLE.values()) - there == set()


def test_every_public_name_is_in_the_table_of_the_module():
    said = stackless.__doc__ or ""
    names = rows(TASKLETS, CHANNELS, RUN) | {"pose"}
    assert [name for name in sorted(names) if f"``{name}``" not in said] == []


@pytest.mark.parametrize("file", TABLE)
def test_the_tests_of_the_table_are_there_and_use_their_names(file: str):
    source = (Path(__file__).parent / file).read_text()
    tests = {node.name: words(node, source) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    wrong = []
    for title, names in TABLE[file].items():
        said = tests.get(f"test_{title}")
        if said is None:
            wrong.append(title)
        else:
            wrong += [f"{title}: {name}" for name in names.split() if name not in said and name not in UNSAID]
    assert wrong == []
