from dataclasses import replace

import pytest

from lineup.errors import UsageError
from lineup.lineups.store import open_lineup
from lineup.planning import plan as planning
from lineup.planning.costs import ModelCost, Phase, Stage
from lineup.planning.plan import (
    HOLES_BYTES,
    MAX_CHUNK,
    MOST_PICTURE_BYTES,
    Order,
    Work,
    bytes_from_text,
    chunk_from_order,
    plan_from_budget,
    smallest_budget,
)

MIB = 2**20


def model(name, stage, *, mapped, loaded, activation, run_ms, blob=None):
    return ModelCost(
        name=name,
        stage=stage,
        mapped_bytes=mapped * MIB,
        loaded_bytes=loaded * MIB,
        activation_bytes=activation * MIB,
        run_ms=run_ms,
        blobs=frozenset({(blob or name, mapped * MIB)}),
    )


MODELS = (
    model("finger", Stage.FINGERPRINT, mapped=3, loaded=10, activation=20, run_ms=4),
    model("blip", Stage.CAPTION, mapped=900, loaded=30, activation=200, run_ms=500),
    model("turbo", Stage.RESYNTHESISE, mapped=3300, loaded=40, activation=400, run_ms=6000),
    model(
        "turbo2",
        Stage.RESYNTHESISE,
        mapped=3300,
        loaded=40,
        activation=400,
        run_ms=6000,
        blob="turbo",
    ),
    model("clip", Stage.ENCODE, mapped=600, loaded=20, activation=100, run_ms=300),
)
BASE = 100 * MIB
WORK = Work(images=10, gamma=2, picture_pixels=512 * 512)
PICTURES = 2 * 2 * 512 * 512 * 3
"""Bytes of one image's resyntheses: two candidates, gamma 2."""


def plan(budget_mib, work=WORK, order=None):
    budget = None if budget_mib is None else budget_mib * MIB
    return plan_from_budget(MODELS, work, base_bytes=BASE, budget_bytes=budget, order=order)


def test_without_a_limit_everything_is_loaded_once_and_stays():
    made = plan(None)
    assert (made.order, made.chunk) == (Order.IMAGE_MAJOR, 1)
    assert made.peak_bytes == BASE + 140 * MIB + 5 * HOLES_BYTES + PICTURES + 400 * MIB
    assert made.mapped_bytes == (3 + 900 + 3300 + 600) * MIB  # the shared weights once
    assert all(stage.loads == 1 for stage in made.stages)
    assert not made.notes


def test_runs_and_seconds_count_every_resynthesis():
    made = plan(None)
    runs = {stage.model: stage.runs for stage in made.stages}
    assert runs == {"finger": 50, "blip": 10, "turbo": 20, "turbo2": 20, "clip": 50}
    assert made.seconds == pytest.approx(50 * 0.004 + 10 * 0.5 + 40 * 6 + 50 * 0.3)


def test_a_smaller_budget_takes_one_model_at_a_time():
    made = plan(4096)
    assert made.order is Order.STAGE_MAJOR
    assert made.chunk == 10
    # The fingerprint model stays.
    assert made.peak_bytes == BASE + 10 * PICTURES + (10 + 440) * MIB + 2 * HOLES_BYTES
    assert made.mapped_bytes == 3300 * MIB
    assert made.peak_bytes + made.mapped_bytes <= 4096 * MIB
    assert not made.notes
    assert all(stage.loads == 1 for stage in made.stages)


def test_weights_beyond_the_budget_are_told():
    made = plan(2048)
    assert made.peak_bytes <= 2048 * MIB
    (note,) = made.notes
    assert "the weights of turbo, turbo2 (up to 3300 MiB) do not fit" in note


def test_little_room_makes_small_chunks_and_more_loading():
    smallest = smallest_budget(MODELS, WORK, base_bytes=BASE)
    made = plan_from_budget(MODELS, WORK, base_bytes=BASE, budget_bytes=smallest + 2 * PICTURES)
    assert made.chunk == 3
    # 10 images in chunks of 3
    assert [stage.loads for stage in made.stages] == [1, 4, 4, 4, 4]
    assert made.peak_bytes <= smallest + 2 * PICTURES


def test_a_chunk_is_bounded():
    assert plan(5000, Work(images=10_000, gamma=1, picture_pixels=1)).chunk == MAX_CHUNK


def test_an_impossible_budget_names_the_smallest_that_works():
    smallest = smallest_budget(MODELS, WORK, base_bytes=BASE)
    with pytest.raises(UsageError, match="500 MiB is too small") as caught:
        plan(500)
    needed_mib = -(-smallest // MIB)
    assert caught.value.hint == f"The smallest that works is {needed_mib} MiB."
    assert plan(needed_mib).peak_bytes <= needed_mib * MIB
    with pytest.raises(UsageError):
        plan_from_budget(MODELS, WORK, base_bytes=BASE, budget_bytes=smallest - 1)


def test_an_order_can_be_asked_for():
    assert plan(None, order=Order.STAGE_MAJOR).order is Order.STAGE_MAJOR
    together = plan(None).peak_bytes
    made = plan(-(-together // MIB), order=Order.IMAGE_MAJOR)  # its weights are read again
    assert (made.order, made.peak_bytes) == (Order.IMAGE_MAJOR, together)
    with pytest.raises(UsageError, match="too small") as caught:
        plan(together // MIB - 1, order=Order.IMAGE_MAJOR)
    assert str(-(-together // MIB)) in caught.value.hint


def test_pictures_that_wait_are_bounded_without_a_budget():
    work = Work(images=10_000, gamma=8, picture_pixels=1024 * 1024)
    made = plan(None, work, order=Order.STAGE_MAJOR)
    assert made.chunk * 2 * 8 * 1024 * 1024 * 3 <= MOST_PICTURE_BYTES
    assert made.chunk > 1


def test_an_encoder_looks_at_two_of_a_querys_pictures_at_once():
    clip = replace(MODELS[-1], runs_at_once=2)
    assert clip.run_bytes(1) == 100 * MIB
    assert clip.run_bytes(5) == clip.run_bytes(2) == 200 * MIB


def test_what_the_largest_model_took_of_the_arena_stays():
    finger = MODELS[0]
    blip = replace(MODELS[1], activation_bytes=0, arena_bytes=200 * MIB)
    turbo = replace(MODELS[2], activation_bytes=0, arena_bytes=400 * MIB)
    clip = replace(
        MODELS[-1],
        activation_bytes=0,
        arena_bytes=205 * MIB,
        runs_at_once=2,
    )
    planned = plan_from_budget(
        [finger, blip, turbo, clip], WORK, base_bytes=BASE, budget_bytes=None
    )
    loaded = (10 + 30 + 40 + 20) * MIB + 4 * HOLES_BYTES + PICTURES // 2
    kept = BASE + loaded + 2 * 205 * MIB  # more than one run of any other
    assert [stage.peak_bytes for stage in planned.stages] == [kept + 20 * MIB, kept, kept, kept]
    apart = plan_from_budget(
        [finger, blip], WORK, base_bytes=BASE, budget_bytes=None, order=Order.STAGE_MAJOR
    )
    kept = BASE + 200 * MIB + 10 * MIB + HOLES_BYTES
    assert [stage.peak_bytes for stage in apart.stages] == [
        kept + 20 * MIB,
        kept + 30 * MIB + HOLES_BYTES,
    ]


def test_graphs_that_take_turns_are_loaded_one_by_one_only_stage_by_stage():
    text, unet, vae = (
        Phase(mapped * MIB, loaded * MIB, activation * MIB)
        for mapped, loaded, activation in ((1300, 20, 10), (3300, 15, 200), (190, 5, 400))
    )
    turbo = replace(
        model("turbo", Stage.RESYNTHESISE, mapped=4790, loaded=40, activation=400, run_ms=6000),
        phases=(text, unet, vae),
    )

    def planned(order):
        return plan_from_budget(
            [turbo], WORK, base_bytes=BASE, budget_bytes=None, order=order
        ).stages[0]

    apart, together = planned(Order.STAGE_MAJOR), planned(Order.IMAGE_MAJOR)
    waiting = 10 * PICTURES // 2
    assert apart.peak_bytes == BASE + waiting + HOLES_BYTES + (5 + 400) * MIB
    assert apart.mapped_bytes == 3300 * MIB
    assert together.peak_bytes == BASE + PICTURES // 2 + HOLES_BYTES + (40 + 400) * MIB
    assert together.mapped_bytes == 4790 * MIB


def test_fingerprints_are_taken_side_by_side():
    finger = replace(MODELS[0], runs_at_once=4)
    assert finger.run_bytes(1) == 20 * MIB
    assert finger.run_bytes(9) == 80 * MIB
    made = plan_from_budget([finger, *MODELS[1:]], WORK, base_bytes=BASE, budget_bytes=None)
    assert made.stages[0].peak_bytes == (
        BASE + 140 * MIB + 5 * HOLES_BYTES + PICTURES + 4 * 20 * MIB
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("900MiB", 900 * 2**20),
        ("1.5GB", 1_500_000_000),
        ("4096", 4096),
    ],
)
def test_bytes_from_text(text, size):
    assert bytes_from_text(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "0", "2 apples", "1e9", "2GiB 3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        bytes_from_text(text)


def test_a_plan_counts_what_the_process_itself_takes(monkeypatch):
    monkeypatch.setattr(planning, "resident_kib", lambda: (5 * 1024, 0))

    assert planning._base_bytes() == 5 * MIB + planning.LINEUP_BYTES


def test_an_order_alone_is_planned_without_costs(monkeypatch):
    def nobody_knows(*_):
        raise AssertionError("a cost was asked for")

    monkeypatch.setattr("lineup.planning.costs.graph_costs", nobody_knows)
    pocket = open_lineup("pocket")
    chunks = [
        chunk_from_order(pocket, Order.STAGE_MAJOR, images=images, gamma=gamma)
        for images, gamma in ((3, 4), (1000, 1), (1000, 16), (1000, 1000))
    ]
    assert chunks[:2] == [3, MAX_CHUNK]
    assert 1 == chunks[3] < chunks[2] < MAX_CHUNK
    assert chunk_from_order(pocket, Order.IMAGE_MAJOR, images=3, gamma=4) == 1
