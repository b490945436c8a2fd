import signal
import threading

import pytest

from lineup.scan.output import interrupts_held


def test_an_interrupt_waits_for_the_row():
    reached = []

    def interrupted_row():
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted_row()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_holding_interrupts_is_harmless_in_a_thread():
    def hold():
        with interrupts_held():
            done.append(True)

    done = []
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join(5)
    assert done == [True]
