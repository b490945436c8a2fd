"""Threads share an engine; processes open their own."""

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import lineup
from lineup.errors import UsageError
from lineup.paths import shipped_dir

SAMPLES = sorted((shipped_dir() / "samples").glob("*.png"))


@pytest.fixture(scope="module")
def engine():
    with lineup.open(device="cpu") as opened:
        yield opened


def labels_in_new_process(paths, answers):
    with lineup.open(device="cpu") as engine:
        answers.put([engine.attribute(path).verdict.label for path in paths])


def error_in_child(engine):
    """Fork, use the engine in the child, return what it raised there; "" when it did not end."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = os.fork()
    if process == 0:
        try:
            engine.attribute(SAMPLES[0])
        except UsageError as error:
            writer.send((error.message, error.hint))
        finally:
            os._exit(0)
    answer = reader.recv() if reader.poll(20) else ""
    if not answer:
        os.kill(process, 9)
    os.waitpid(process, 0)
    return answer


def test_two_threads_share_an_engine(engine):
    expected = [engine.attribute(path).verdict.posterior for path in SAMPLES]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(engine.attribute, SAMPLES * 4))

    assert [answer.verdict.posterior for answer in answers] == expected * 4


def test_a_spawned_process_opens_an_engine_of_its_own(engine):
    expected = [engine.attribute(path).verdict.label for path in SAMPLES]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=labels_in_new_process, args=(SAMPLES, answers))
    process.start()

    assert answers.get(timeout=60) == expected
    process.join(20)
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_is_told_to_open_its_own(engine):
    engine.attribute(SAMPLES[0])

    message, hint = error_in_child(engine)

    assert f"was opened by process {os.getpid()} and is used in process" in message
    assert hint == "Open an engine in each process, after the fork."


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_is_told_even_while_a_thread_works(engine):
    with engine.working():
        message, _ = error_in_child(engine)

    assert "was forked off it" in message
