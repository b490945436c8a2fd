"""Commands of the user's that ask for pictures: here small Python programs."""

import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lineup.errors import ResynthesisError
from lineup.options import ResynthesisOptions
from lineup.query import Query
from lineup.resynthesis.making import ModelSource
from lineup.resynthesis.resynthesizer import Resynthesizer
from lineup.stored.asking import AskedCandidate
from lineup.stored.captions import CaptionRow
from lineup.stored.store import StoredResyntheses

DRAWS = """
import json, sys, pathlib
import cv2, numpy as np
row = json.loads(sys.stdin.readline())
*_, caption, folder = sys.argv
assert caption == row["caption"], (caption, row)
pathlib.Path("asked").open("a").write(caption + "\\n")
print("noise on standard output")
for name, seed in zip(row["pictures"], row["seeds"]):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    cv2.imwrite(f"{folder}/{name}.png", pixels)
"""


@pytest.fixture
def candidate(tmp_path):
    def build(code, timeout_s=30.0):
        (tmp_path / "api.py").write_text(code)
        command = f"{shlex.quote(sys.executable)} api.py"
        store = StoredResyntheses(tmp_path / "stored")
        return AskedCandidate("bought", command, timeout_s, tmp_path, store)

    return build


CAPTION = "a cat; rm -rf $HOME `x` --help"


def asked(*seeds, caption=CAPTION):
    return CaptionRow("ab" * 32, caption, seeds, tuple(map(str, seeds)), 32, 32)


def test_a_command_is_asked_once_per_query_and_caption(candidate, tmp_path):
    api = candidate(DRAWS)

    first, again, fewer = (api.pictures(asked(*seeds)) for seeds in ((3, 4), (3, 4), (3,)))
    api.pictures(asked(3, caption="a dog"))

    assert first.paths == again.paths == fewer.paths
    assert len(first.paths) == 2
    assert (tmp_path / "asked").read_text().splitlines() == [CAPTION, "a dog"]


def test_other_seeds_are_other_pictures(candidate):
    api = candidate(DRAWS)

    assert api.pictures(asked(3)).paths != api.pictures(asked(4)).paths


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no credit left')", "failed with code 1: no credit left"),
        ("", "its folder: there is no picture 0, 1"),
        ("import sys; open(sys.argv[-1] + '/0.png', 'w')", "there is no picture 1"),
        (
            "import sys\nfor n in '01': open(f'{sys.argv[-1]}/{n}.png', 'w').write('no')",
            "0.png",
        ),
    ],
)
def test_what_went_wrong_names_the_command(candidate, code, said, tmp_path):
    api = candidate(code)

    with pytest.raises(ResynthesisError) as caught:
        api.pictures(asked(0, 1))

    assert caught.value.message.startswith(f"bought: the command {api.command!r}: ")
    assert said in caught.value.message
    assert "/lineup-" not in caught.value.message
    assert not (tmp_path / "stored").exists()


def test_a_program_that_is_absent_is_named(tmp_path):
    store = StoredResyntheses(tmp_path / "stored")
    api = AskedCandidate("bought", "no-such-program --x", 1.0, None, store)

    with pytest.raises(ResynthesisError, match=r"no-such-program.*cannot be started: No such"):
        api.pictures(asked(0))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")
def test_a_command_that_hangs_is_ended_with_what_it_started(candidate, tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    with pytest.raises(ResynthesisError, match=r"took more than 2 s"):
        candidate(code, timeout_s=2.0).pictures(asked(0))

    child = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if _state(child) == "Z":  # or it is gone
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child still runs")


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_the_resynthesizer_asks_with_the_caption_and_compares(
    candidate, toy_generators, toy_captioner, toy_encoder, red_pixels
):
    api = candidate(DRAWS)
    models = ModelSource.kept(toy_generators, toy_captioner, toy_encoder)
    query = Query(red_pixels, sha256="ab" * 32)

    (made,) = Resynthesizer(models, asked=[api]).resyntheses([query], ResynthesisOptions(gamma=2))

    assert {name: len(images) for name, images in made.images.items()} == {
        "reds": 2,
        "blues": 2,
        "bought": 2,
    }
    assert made.trace.stage("ask").items == made.trace.stage("generate").items / 2 == 2
    assert made.evidence[0].cost_ms >= 1e3 * made.trace.stage("ask").seconds > 0
    assert made.stored == {"bought": "a plain colour"}
    assert np.isfinite(made.evidence[0].scores["bought"])
