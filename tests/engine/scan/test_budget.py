import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lineup.look_ahead import ByteBudget, LookAhead


def test_threads_never_hold_more_than_the_budget():
    budget = ByteBudget(100)

    def work(size):
        with budget.reserved(size):
            time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 30, 60, 10, 100, 55, 45, 5] * 5))

    assert 55 <= budget.peak <= 100


def test_a_request_over_the_whole_budget_goes_alone():
    budget = ByteBudget(100)
    order = []
    inside = threading.Event()

    def huge():
        inside.wait()
        with budget.reserved(1000):
            order.append("huge")

    thread = threading.Thread(target=huge)
    thread.start()
    with budget.reserved(1):
        inside.set()
        time.sleep(0.02)
        order.append("small")
    thread.join(5)

    assert order == ["small", "huge"]
    assert budget.peak == 1000


def in_thread(work):
    """Run `work` on a thread; return an event that is set when it has returned."""
    done = threading.Event()
    threading.Thread(target=lambda: (work(), done.set()), daemon=True).start()
    return done


def test_admission_waits_until_an_image_is_taken():
    ahead = LookAhead(2, 100)
    assert [ahead.admit(), ahead.admit()] == [0, 1]
    admitted = in_thread(ahead.admit)

    assert not admitted.wait(0.05)
    ahead.take(0)
    assert admitted.wait(5)
    assert ahead.peak_images == 2


def test_no_image_starts_over_the_bytes_but_the_one_that_is_next():
    ahead = LookAhead(9, 100)
    for number in range(3):
        assert ahead.admit() == number
    ahead.add_bytes(150)  # of image 1, which was faster than image 0
    ahead.wait_to_start(0)
    started = in_thread(lambda: ahead.wait_to_start(2))

    assert not started.wait(0.05)
    ahead.take(0)
    assert not started.wait(0.05)
    ahead.take(150)
    assert started.wait(5)
    assert ahead.peak_bytes == 150


def test_closing_turns_the_waiting_away():
    ahead = LookAhead(1, 100)
    ahead.admit()
    ahead.add_bytes(100)
    waiting = [in_thread(ahead.admit), in_thread(lambda: ahead.wait_to_start(5))]
    ahead.close()

    assert all(done.wait(5) for done in waiting)
    assert ahead.admit() is None
