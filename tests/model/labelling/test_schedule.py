"""Photos side by side on a processor, in batches elsewhere: in order, few in memory, errors in the photo's place."""

import threading
import time

import pytest
import torch

from toco.model.errors import InvalidArray, TocoError
from toco.model.labelling.schedule import in_batches, side_by_side


def run(requests, *, decode=lambda request: request, label=lambda decoded: -decoded, threads=2, most=9, stop=None):
    return side_by_side(requests, decode, label, threads=threads, most=most, stop=stop or (lambda: False))


def uneven(number):
    time.sleep(0.02 if number % 3 == 0 else 0.001)
    return -number


def test_results_come_in_the_order_of_the_requests():
    assert list(run(range(12), label=uneven, threads=4)) == [(number, -number) for number in range(12)]


def test_nothing_asked_nothing_done():
    assert list(run([])) == []


@pytest.mark.parametrize(("threads", "most", "photos", "at_once"), [(3, 9, 12, 3), (4, 2, 12, 2), (4, 9, 1, 1)])
def test_as_many_at_once_as_there_are_threads_photos_and_room(threads, most, photos, at_once):
    now, seen, lock = 0, [], threading.Lock()
    together = threading.Barrier(at_once)

    def label(number):
        nonlocal now
        with lock:
            now += 1
            seen.append(now)
        together.wait(60)
        with lock:
            now -= 1
        return number

    list(run(range(photos), label=label, threads=threads, most=most))
    assert max(seen) == at_once


@pytest.mark.parametrize(("photos", "each"), [(1, 4), (2, 2), (8, 1)])
def test_photos_share_the_threads_and_torch_has_its_own_again_afterwards(photos, each):
    before = torch.get_num_threads()
    found = list(run(range(photos), label=lambda _: torch.get_num_threads(), threads=4))
    assert {threads for _, threads in found} == {each}
    assert torch.get_num_threads() == before


def test_torch_has_its_threads_again_after_a_run_that_nobody_finished():
    before = torch.get_num_threads()
    running = run(range(100), threads=4)
    next(running)
    running.close()
    assert torch.get_num_threads() == before


def test_an_error_of_a_photo_stands_in_its_place():
    refused = InvalidArray("odd", fix="-")

    def fussy(number):
        if number == 1:
            raise refused
        return number

    for found in (run(range(4), decode=fussy, label=lambda number: number), run(range(4), label=fussy)):
        assert list(found) == [(0, 0), (1, refused), (2, 2), (3, 3)]


def test_any_other_error_ends_the_run():
    def broken(number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run(range(4), label=broken))


def test_few_requests_are_taken_ahead_and_a_slow_reader_holds_back_the_rest():
    taken = []

    def requests():
        for number in range(1000):
            taken.append(number)
            yield number

    running = run(requests(), threads=2)
    for number in range(50):
        assert next(running)[0] == number
        assert len(taken) - number <= 2 * 2 + 2 * 2 + 2
    running.close()


def test_a_stop_is_asked_before_each_photo_but_the_first_ones():
    answers = iter([False, False, True])
    found = [request for request, _ in run(range(100), threads=2, stop=lambda: next(answers))]
    assert found == [0, 1, 2, 3]


def test_batches_keep_order_and_errors_and_stop():
    sizes = []

    def decode(number):
        if number == 2:
            raise InvalidArray("odd", fix="-")
        return number

    def device(batch):
        sizes.append(len(batch))
        return [lambda number=number: -number for number in batch]

    answers = iter([False, True])
    found = list(in_batches(range(100), decode, device, threads=2, size=3, stop=lambda: next(answers)))
    assert [request for request, _ in found] == [0, 1, 2, 3, 4, 5]
    assert [outcome for _, outcome in found if not isinstance(outcome, TocoError)] == [0, -1, -3, -4, -5]
    assert isinstance(found[2][1], InvalidArray)
    assert sizes == [2, 3]
