from types import SimpleNamespace

import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.opening import probe
from lineup.backends.tensorrt.api import Flavour, api_from_flavour, api_from_module
from lineup.errors import MissingExtraError, UsageError


def test_a_missing_module_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(MissingExtraError) as caught:
        api_from_flavour(Flavour.RTX)
    assert "lineup-forensics[rtx]" in caught.value.hint


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "10.2.0"])
def test_an_old_release_is_refused(version):
    with pytest.raises(UsageError, match=rf"{version} is installed; 10.3 or later"):
        api_from_module(Flavour.TENSORRT, SimpleNamespace(__version__=version))


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.106"])
def test_supported_releases(version):
    api = api_from_module(Flavour.TENSORRT, SimpleNamespace(__version__=version))
    assert api.version == version


def test_a_device_without_its_module_is_not_usable(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    problem = probe(Device(DeviceKind.TENSORRT_NATIVE))
    assert problem is not None
    assert "'tensorrt' cannot be imported" in problem
