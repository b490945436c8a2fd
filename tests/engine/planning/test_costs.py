"""What the shipped lineup costs, by its manifests."""

import pytest

from lineup.lineups.store import open_lineup
from lineup.planning.costs import Stage, costs_from_lineup


@pytest.fixture(scope="module")
def costs():
    return costs_from_lineup(open_lineup("pocket"))


def test_models_come_in_the_order_of_the_work(costs):
    order = [one.stage for one in costs]
    assert order == sorted(order, key=list(Stage).index)
    assert set(order) == set(Stage)


def test_only_the_graphs_of_generators_take_turns(costs):
    for one in costs:
        if one.stage is Stage.RESYNTHESISE:
            assert len(one.phases) == 3  # text encoder, denoiser, decoder
            assert sum(phase.loaded_bytes for phase in one.phases) == one.loaded_bytes
            assert one.staged_mapped_bytes == max(phase.mapped_bytes for phase in one.phases)
            assert one.staged_bytes(1) < one.loaded_bytes + one.run_bytes(1)
        else:
            assert one.staged_mapped_bytes == one.mapped_bytes
            assert one.staged_bytes(2) == one.loaded_bytes + one.run_bytes(2)
