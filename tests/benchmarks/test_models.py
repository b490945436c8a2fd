"""Models of benchmarks: the peers' weights are those of the bundle, and our peers run."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.openvino import precisions_of
from lineup.errors import LineupError
from lineup.paths import shipped_dir

POCKET = shipped_dir() / "bundles" / "pocket-ash"


def write_manifest(folder, weights, revision):
    folder.mkdir()
    source = {"id": weights, "revision": revision}
    (folder / "manifest.json").write_text(json.dumps({"source": source}))
    return folder


def test_a_peer_gets_the_weights_that_the_manifest_names(tmp_path):
    import torch
    from transformers import CLIPVisionModelWithProjection

    from _models import save_peer
    from lineup_export.public.source import RandomSource
    from lineup_models.recipes.read import open_recipe

    recipe = "clip-vit-l-14-336"
    bundle = write_manifest(tmp_path / "bundle", "random:3", f"architecture of tiny {recipe}")

    save_peer(bundle, tmp_path / "peer")

    loaded = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "peer").state_dict()
    source = RandomSource(open_recipe(recipe), 3, is_tiny=True)
    expected = source.module("model", torch.float32).state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in expected.items())
    processor = json.loads((tmp_path / "peer" / "preprocessor_config.json").read_text())
    assert processor["image_mean"] == list(source.recipe.preprocess.mean)


def test_weights_that_are_not_random_cannot_be_built_again(tmp_path):
    from _models import save_peer

    bundle = write_manifest(tmp_path / "bundle", "stabilityai/sd-turbo", "main")

    with pytest.raises(LineupError, match="has weights of stabilityai/sd-turbo, expected random"):
        save_peer(bundle, tmp_path / "peer")


def test_a_bundle_that_is_there_is_used_and_a_missing_one_is_exported(tmp_path, monkeypatch):
    import _models

    made = []
    monkeypatch.setattr(_models, "_run", lambda command, target: made.append((command, target)))
    models = _models.Models(tmp_path, tmp_path / "work", is_tiny=True)
    write_manifest(tmp_path / "sd-turbo", "random:0", "architecture of tiny sd-turbo")

    assert models.bundle("sd-turbo") == tmp_path / "sd-turbo"
    assert made == []
    models.bundle("sd-turbo-b")

    command, target = made[0]
    assert target == tmp_path / "sd-turbo-b"
    assert command[-1] == "--output"
    assert {"generator", "sd-turbo", "random", "--tiny"} < set(command)
    assert command[command.index("--seed") + 1] == "1"


def test_what_cannot_be_made_leaves_nothing(tmp_path):
    import sys

    from _models import _run

    with pytest.raises(SystemExit, match="could not be made:\nno room"):
        _run([sys.executable, "-c", "import sys; sys.exit('no room')"], tmp_path / "model")

    assert list(tmp_path.iterdir()) == []


def test_our_peer_draws_and_tells_its_stages(tmp_path):
    from _peers import Peer, run_peer

    request = {
        "program": "lineup", "model": str(POCKET),
        "prompt": "a red ball", "seed": 0, "size_px": 256, "repeat": 1,
        "device": "cpu", "threads": 1, "image": str(tmp_path / "image.npy"),
    }  # fmt: skip

    told = run_peer(Peer("lineup", "image.py"), request)

    assert "error" not in told
    assert {"load", "unet", "vae_decoder"} <= set(told["stages_s"])
    assert told["first_s"] >= told["runs_s"][0] > 0
    assert np.load(tmp_path / "image.npy").shape == (256, 256, 3)


def test_every_session_of_the_denoiser_computes_the_same(tmp_path):
    from _peers import Peer, run_peer
    from denoiser import write_feeds

    feeds = tmp_path / "feeds.npz"
    request = {
        "model": str(POCKET), "graph": write_feeds(POCKET, feeds, 256), "feeds": str(feeds),
        "repeat": 1, "device": "cpu", "threads": 1,
    }  # fmt: skip
    found = {}
    for runtime in ("lineup", "defaults", *["openvino"] * (find_spec("openvino") is not None)):
        image = tmp_path / f"{runtime}.npy"
        own = {"runtime": runtime, "image": str(image)}
        told = run_peer(Peer(runtime, "denoiser_step.py", own), request)
        assert "error" not in told
        found[runtime] = np.load(image)

    # The bundle computes in half precision, and the defaults fuse and round elsewhere; OpenVINO's
    # are bf16 where the processor has it.
    for runtime, one in found.items():
        in_bf16 = runtime == "openvino" and precisions_of(Device(DeviceKind.OPENVINO))[0] == "bf16"
        within = {"atol": 5e-2, "rtol": 2**-6} if in_bf16 else {"atol": 5e-3}
        np.testing.assert_allclose(found["lineup"], one, **within, err_msg=runtime)


def test_peers_are_asked_for_by_name(tmp_path):
    from _models import Models
    from synthesis import OURS, peer_from_name

    for folder in ("bundles/sd-turbo", "openvino/sd-turbo", "peers/sd-turbo"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bundles" / "sd-turbo" / "manifest.json").touch()
    models = Models(tmp_path / "bundles", tmp_path, is_tiny=False)
    asked = {
        name: dict(peer_from_name(name, models, image="x").request)
        for name in (OURS, "lineup openvino", "openvino", "stable-diffusion.cpp q8_0")
    }
    assert "device" not in asked[OURS]
    assert asked["lineup openvino"] == {**asked[OURS], "device": "openvino"}
    assert asked["openvino"]["model"] == str(tmp_path / "openvino" / "sd-turbo")
    assert asked["stable-diffusion.cpp q8_0"]["weights"] == "q8_0"
    assert asked["stable-diffusion.cpp q8_0"]["model"] == str(tmp_path / "peers" / "sd-turbo")


def test_pictures_of_other_noise_are_not_compared(tmp_path):
    from synthesis import REFERENCE, image_errors

    images = {name: tmp_path / name for name in ("lineup", REFERENCE, "stable-diffusion.cpp f16")}
    for path in images.values():
        np.save(path.with_suffix(".npy"), np.zeros((2, 2, 3), np.uint8))
    images = {name: path.with_suffix(".npy") for name, path in images.items()}
    assert set(image_errors(images, REFERENCE)) == {"lineup"}
