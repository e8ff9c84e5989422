"""Independent computations side by side."""

import threading
import time

import pytest

from fpa.study.together import together


def test_results_come_in_the_order_of_the_items(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    last_has_ended = threading.Event()

    def compute(item):
        if item == "last":
            last_has_ended.set()
        elif item == "first":
            last_has_ended.wait(30)
        return item.upper()

    assert list(together(compute, ["first", "last"]).items()) == [("first", "FIRST"), ("last", "LAST")]


def test_two_are_under_way_at_once(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=30)
    assert together(lambda item: both.wait() >= 0, ["one", "other"]) == {"one": True, "other": True}


def test_the_first_error_is_raised_and_the_rest_not_begun(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    begun = []

    def compute(item):
        begun.append(item)
        if item == "bad":
            raise ValueError(f"{item} cannot be computed")
        time.sleep(0.02)
        return item

    with pytest.raises(ValueError, match="bad cannot be computed"):
        together(compute, ["good", "bad", *range(100)])
    assert len(begun) < 100
