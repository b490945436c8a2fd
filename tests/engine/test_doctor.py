import json
import subprocess

from click.testing import CliRunner

from lineup import doctor as examination
from lineup.backends.graph_cache import GraphKey, graph_cache
from lineup.cli.doctor import doctor
from lineup.errors import BundleError, GalleryError


def test_the_report_covers_every_device():
    report = examination.examine()

    assert [device.name for device in report.devices] == [
        "cpu", "cuda", "tensorrt", "tensorrt-native", "tensorrt-rtx",
        "openvino:cpu", "openvino:gpu", "openvino:npu",
    ]  # fmt: skip
    assert report.devices[0].usable
    assert report.cores >= 1
    assert "numpy" in report.packages
    assert report.ok


def test_a_device_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(examination, "probe", lambda device: "no driver")

    output = CliRunner().invoke(doctor).stdout

    assert "device     cuda: not usable, no driver" in output


def test_json_holds_the_same():
    result = CliRunner().invoke(doctor, ["--json"])

    report = json.loads(result.stdout)
    assert report["devices"][0] == {"name": "cpu", "usable": True, "reason": ""}
    assert result.exit_code == 0


def test_compiled_graphs_are_listed():
    def compile_to(folder):
        (folder / "engine.plan").write_bytes(b"plan")
        return folder / "engine.plan"

    key = GraphKey("a" * 64, "tensorrt", "10.3.0", "8.7")
    graph_cache().add(key, bundle="toy", role="unet", compile_to=compile_to)

    assert "compiled   toy unet: tensorrt 10.3.0 for 8.7" in CliRunner().invoke(doctor).stdout


def test_a_broken_gallery_is_told_by_the_exit_code(monkeypatch):
    def broken(path):
        raise GalleryError("the gallery is damaged")

    monkeypatch.setattr(examination, "open_gallery", broken)
    result = CliRunner().invoke(doctor)

    assert result.exit_code == 1
    assert "the gallery is damaged" in result.stdout


def test_an_encoder_of_an_earlier_version_is_not_ok(monkeypatch):
    def outdated(runtime):
        raise BundleError("pulled by an earlier version")

    monkeypatch.setattr(examination, "REFERENCE_BUNDLE", "pocket-clip")
    monkeypatch.setattr(examination, "open_reference_encoder", outdated)

    result = CliRunner().invoke(doctor, [])

    assert result.exit_code == 1
    assert "pocket-clip: pulled by an earlier version" in result.stdout
    assert "pocket-ash: ok" in result.stdout


def test_gpus_are_what_the_driver_lists(monkeypatch):
    listing = "NVIDIA Orin, 7620 MiB, 540.4.0\n"
    monkeypatch.setattr(examination.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        examination.subprocess,
        "run",
        lambda *arguments, **options: subprocess.CompletedProcess(arguments, 0, listing, ""),
    )

    assert examination._gpus() == ["NVIDIA Orin, 7620 MiB, 540.4.0"]


def test_a_driver_tool_that_fails_lists_nothing(monkeypatch):
    def failing(*arguments, **options):
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr(examination.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(examination.subprocess, "run", failing)

    assert examination._gpus() == []


def test_a_home_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path):
    report = examination._folder_report(tmp_path / "not" / "yet")

    assert not report.exists
    assert report.writable
    assert report.free_mib > 0
