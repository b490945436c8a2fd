"""What the shipped lineup costs, by its manifests."""

from dataclasses import replace

import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.measured import Measured, keep_measured, release_of
from lineup.bundles.bundle import open_bundle
from lineup.errors import BundleFormatError
from lineup.lineups.store import open_lineup
from lineup.paths import shipped_dir
from lineup.planning.costs import (
    CAPTION_STEPS,
    Stage,
    cost_from_bundle,
    costs_from_lineup,
    graph_costs,
    planned_times,
    runs_per_item,
)
from lineup.planning.plan import _resynthesis_pixels, plan_for_lineup
from lineup.runtime import Runtime


@pytest.fixture(scope="module")
def costs():
    return costs_from_lineup(open_lineup("pocket"), Runtime("cpu"))


def test_models_come_in_the_order_of_the_work(costs):
    order = [one.stage for one in costs]
    assert order == sorted(order, key=list(Stage).index)
    assert set(order) == set(Stage)


def test_a_verdict_runs_each_graph_as_often_as_it_needs():
    shipped = shipped_dir() / "bundles"
    encoder, captioner = (open_bundle(shipped / f"pocket-{name}") for name in ("clip", "captioner"))
    generator = open_bundle(shipped / "pocket-ash")

    assert runs_per_item(open_bundle(shipped / "whitened-spectrum")) == {"fingerprint": 1}
    assert runs_per_item(encoder) == {"image_tower_cut": 1}
    assert runs_per_item(captioner) == {"vision_encoder": 1, "text_decoder": CAPTION_STEPS}
    assert runs_per_item(generator) == {"text_encoder": 0, "unet": 1, "vae_decoder": 1}
    guided = replace(generator.manifest.generation, guidance=2.0, steps=3)
    guided = replace(generator, manifest=replace(generator.manifest, generation=guided))
    assert runs_per_item(guided)["unet"] == 6


def test_resyntheses_are_as_large_as_the_largest_generator_makes_them():
    assert _resynthesis_pixels(open_lineup("pocket")) == 256 * 256


@pytest.mark.parametrize(("gamma", "resyntheses"), [(None, 4), (8, 8)])
def test_a_plan_takes_the_lineups_gamma_unless_another_is_asked_for(gamma, resyntheses):
    plan = plan_for_lineup(open_lineup("pocket"), images=10, gamma=gamma, budget_bytes=None)

    runs = {one.runs for one in plan.stages if one.stage is Stage.RESYNTHESISE}
    assert runs == {10 * resyntheses}


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


def test_the_arena_holds_the_largest_of_the_runs_that_share_it(monkeypatch):
    generator = open_bundle(shipped_dir() / "bundles" / "pocket-ash")
    shared = ("unet", "vae_decoder")
    needs = {role: graph.cost for role, graph in generator.manifest.graphs.items()}
    monkeypatch.setattr("lineup.planning.costs.uses_arena", lambda _, role, device: role in shared)

    cost = cost_from_bundle(generator)

    assert cost.arena_bytes == max(needs[role].activation_bytes for role in shared)
    assert cost.activation_bytes == needs["text_encoder"].activation_bytes


def test_costs_are_those_of_the_device_and_of_this_machine_where_they_were_measured(monkeypatch):
    monkeypatch.setattr("lineup.backends.measured.release_of", lambda device: "1")
    bundle = Runtime().bundle("pocket-ash")
    cpu, openvino = Device(DeviceKind.CPU), Device(DeviceKind.OPENVINO, precision="f32")
    told = {role: graph.cost for role, graph in bundle.manifest.graphs.items()}
    assert graph_costs(bundle, cpu) == told
    with pytest.raises(BundleFormatError, match="on openvino:cpu:f32 are not known") as caught:
        graph_costs(bundle, openvino)
    assert caught.value.hint.endswith("lineup models measure pocket-ash --device openvino:cpu:f32")

    here = {role: replace(cost, run_ms=cost.run_ms + 1) for role, cost in told.items()}
    keep_measured(bundle, {openvino: Measured("1", 1.0, 1.0, here)})

    assert graph_costs(bundle, openvino) == here
    assert graph_costs(bundle, cpu) == told
    assert cost_from_bundle(bundle, openvino).run_ms == cost_from_bundle(bundle).run_ms + 2
    assert not cost_from_bundle(bundle, openvino).blobs  # packed anew, in private memory


def test_times_are_planned_for_the_device_that_was_asked_for(monkeypatch):
    lineup, runtime = open_lineup("pocket"), Runtime("cpu")
    before = planned_times(lineup, runtime)
    bundle = runtime.bundle("pocket-ash")
    cpu = Device(DeviceKind.CPU)
    slow = {role: replace(graph.cost, run_ms=1e6) for role, graph in bundle.manifest.graphs.items()}
    keep_measured(bundle, {cpu: Measured(release_of(cpu), 1.0, 1.0, slow)})
    after = planned_times(lineup, runtime)
    assert after.resynthesis_ms["pocket-ash"] == 2e6  # denoiser and decoder
    assert after.resynthesis_ms["pocket-birch"] == before.resynthesis_ms["pocket-birch"]
