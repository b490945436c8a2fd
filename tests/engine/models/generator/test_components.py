import threading

import numpy as np
import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.errors import BackendError, BundleFormatError
from lineup.models import components as components_module
from lineup.models.components import Components


@pytest.fixture
def components(toy_bundle):
    return Components(toy_bundle(), Device(DeviceKind.CPU), RuntimeOptions(threads=1))


def decode(components):
    return components.run("vae_decoder", {"latents": np.zeros((1, 2, 3, 3), np.float32)})


def test_a_graph_is_loaded_when_it_is_first_run(components):
    assert components.resident == ()
    assert decode(components)["image"].shape == (1, 3, 12, 12)
    assert components.resident == ("vae_decoder",)
    decode(components)

    assert components.trace.calls == {"load": 1, "vae_decoder": 2}
    assert all(value > 0 for value in components.trace.ms.values())


def test_a_released_graph_is_loaded_again(components):
    before = decode(components)["image"]
    components.release("vae_decoder", "unet")
    assert components.resident == ()

    assert (decode(components)["image"] == before).all()
    assert components.trace.calls["load"] == 2


def test_a_graph_that_is_needed_next_is_loaded_meanwhile(components, monkeypatch):
    expected, loads = decode(components)["image"], []
    components.release()
    plain = components_module.runner_from_bundle
    monkeypatch.setattr(
        components_module,
        "runner_from_bundle",
        lambda bundle, role, *place: (
            loads.append(threading.current_thread().name) or plain(bundle, role, *place)
        ),
    )
    components.load_ahead("vae_decoder")
    components.load_ahead("vae_decoder")
    assert (decode(components)["image"] == expected).all()
    components.load_ahead("vae_decoder")
    decode(components)
    assert len(loads) == 1
    assert loads[0].startswith("lineup-load")


def test_what_cannot_be_loaded_fails_when_it_is_run(components):
    components.load_ahead("vae_other")
    with pytest.raises(BundleFormatError, match=r"graphs\.vae_other"):
        components.run("vae_other", {})


@pytest.mark.parametrize("role", ["vae_decoder", "vae_other"])
def test_a_graph_that_nobody_ran_is_released_too(components, role):
    components.load_ahead(role)
    components.close()
    components.load_ahead(role)
    assert not components._ahead
    assert components.resident == ()


def test_all_are_released_at_once(components):
    decode(components)
    components.release()

    assert components.resident == ()


def test_closing_is_for_good(components):
    decode(components)
    components.close()

    with pytest.raises(BackendError, match="was closed"):
        decode(components)


def test_inputs_are_known_without_loading(components):
    assert list(components.inputs("unet")) == ["latents", "timestep", "text_states"]
    assert components.resident == ()


def test_a_missing_graph_is_named(components):
    with pytest.raises(BundleFormatError, match=r"graphs\.vae_other"):
        components.inputs("vae_other")
