"""Network calls are counted as they happen."""

import threading

import pytest

from fewstep.core import nfe


def plain(x, t):
    return x


def test_plain_calls_count_one():
    with nfe.count() as counter:
        for _ in range(3):
            nfe.call(plain, 0, 0)
    assert counter.calls == 3


def test_inner_calls_and_reports_replace_the_default():
    def twice(x, t):
        nfe.call(plain, x, t)
        return nfe.call(plain, x, t)

    def cached(x, t):
        nfe.report(0)
        return x

    with nfe.count() as counter:
        nfe.call(twice, 0, 0)
        nfe.call(cached, 0, 0)
    assert counter.calls == 2


def test_blocks_nest_and_an_inner_loop_counts_itself():
    def loop(x, t):
        with nfe.count():
            for _ in range(4):
                nfe.call(plain, x, t)
        return x

    with nfe.count() as outer:
        nfe.call(loop, 0, 0)
    assert outer.calls == 4


def test_without_a_counter_nothing_happens():
    nfe.report(5)
    assert nfe.call(plain, 1, 0) == 1


def test_threads_do_not_share():
    with nfe.count() as counter:
        thread = threading.Thread(target=nfe.call, args=(plain, 0, 0))
        thread.start()
        thread.join()
    assert counter.calls == 0


def test_rows_are_calls_outside_any_other():
    rows = []

    def inner(x, t):
        rows.append((nfe.current().rows, nfe.current().asking))
        return x

    def twice(x, t):
        nfe.call(inner, x, t)
        return nfe.call(inner, x, t)

    with nfe.count() as counter:
        nfe.call(twice, 0, 0)
        nfe.call(inner, 0, 0)
        assert not counter.asking
    assert rows == [(1, True), (1, True), (2, True)]
    assert nfe.current() is None


def test_a_row_that_fails_ends_and_notes_end_with_the_run():
    def fails(x, t):
        raise RuntimeError("stop")

    with nfe.count() as counter:
        counter.notes["memory"] = 1
        with pytest.raises(RuntimeError, match="stop"):
            nfe.call(fails, 0, 0)
        assert not counter.asking
    assert counter.notes == {}
