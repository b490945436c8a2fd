from __future__ import annotations

import argparse
from pathlib import Path

import pytest


@pytest.mark.parametrize(("text", "point"), [("16x3", (16, 3)), ("1x1", (1, 1))])
def test_a_point_is_images_and_candidates(text, point):
    from attribution import point_from_text

    assert point_from_text(text) == point


@pytest.mark.parametrize("text", ["16", "x3", "0x3", "ax3", "3x"])
def test_a_point_that_is_none_is_refused(text):
    from attribution import point_from_text

    with pytest.raises(argparse.ArgumentTypeError, match="is not like 16x3"):
        point_from_text(text)


def test_candidates_have_weights_of_their_own_when_asked_for():
    from attribution import generators_of

    shared, distinct = (list(generators_of(3, distinct=one).values()) for one in (False, True))

    assert shared == ["sd-turbo"] * 3
    assert distinct == ["sd-turbo", "sd-turbo-b", "sd-turbo-c"]


def test_both_programs_are_compared_by_captions_and_similarities():
    from attribution import agreement

    ours = [
        {"caption": "a", "evidence": {"resynthesis": {"scores": {"x": 0.5, "y": 0.25}}}},
        {"caption": "b", "evidence": {}},
    ]
    theirs = [
        {"caption": "a", "scores": {"x": 0.5, "y": 0.5}},
        {"caption": "c", "scores": {"x": 0.5, "y": 0.5}},
    ]

    assert agreement(ours, theirs) == {"same_captions_percent": 50, "max_similarity_gap": 0.25}
    assert agreement(ours, []) == {}


@pytest.mark.parametrize(
    ("device", "script", "backends"),
    [
        ("cpu", ("cpu", "float32"), ["onnxruntime"]),
        ("openvino", ("cpu", "float32"), ["openvino"]),
        ("cuda", ("cuda", "float16"), ["onnxruntime"]),
    ],
)
def test_the_device_is_ours_and_the_settings_are_kept(device, script, backends, monkeypatch):
    import attribution

    asked, built, kept = [], [], []
    manifest = {"captioner": {"max_tokens": 20}}
    for name, other in {
        "take_turns": lambda peers, request, _: asked.extend(
            {**request, **peer.request} for peer in peers
        ),
        "summary": lambda *_: {"medians": {}, "ratios": {}, "failures": {}},
        "manifest_of": lambda _: manifest,
        "settings_of_models": lambda *_: {},
        "write_latents": lambda *_: "",
        "finish": lambda name, settings, results, record: kept.append(settings),
    }.items():
        monkeypatch.setattr(attribution, name, other)
    models = attribution.Models
    monkeypatch.setattr(models, "optimise", lambda self, names, backends: built.extend(backends))
    monkeypatch.setattr(models, "bundle", lambda self, name: Path(name))
    monkeypatch.setattr(models, "peer", lambda self, name: Path(name))
    monkeypatch.setattr("sys.argv", ["attribution.py", "--points", "1x1", "--device", device])

    attribution.main()

    ours, theirs = asked
    assert (ours["device"], built) == (device, backends)
    assert (theirs["device"], theirs["dtype"]) == script
    assert {"device": device, "order": "stage-major"}.items() <= kept[0].items()
