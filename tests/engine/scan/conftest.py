import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture(scope="session")
def fakes():
    """The names of fake_engine.py, which is no module of a package."""
    return runpy.run_path(str(FAKE_ENGINE))


@pytest.fixture
def engine(fakes):
    return fakes["fake_engine"]()


@pytest.fixture
def write_image():
    """Write a PNG of one colour, with a little noise so that contents differ."""

    def write(path, colour=(200, 40, 40), size=(32, 32), seed=0):
        noise = np.random.default_rng(seed).integers(0, 9, (*size, 3))
        pixels = np.clip(np.asarray(colour) + noise - 4, 0, 255).astype(np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
        return path

    return write


@pytest.fixture
def mixed_folder(tmp_path, write_image):
    """Twelve images and four broken files, in one folder with a subfolder."""
    folder = tmp_path / "in"
    for index in range(12):
        colour = (220, 30, 30) if index % 2 else (30, 30, 220)
        write_image(folder / f"sub{index % 2}" / f"{index:02}.png", colour, seed=index)
    whole = (folder / "sub0" / "00.png").read_bytes()
    (folder / "sub0" / "03-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "sub0" / "05-empty.png").write_bytes(b"")
    (folder / "sub1" / "06-text.jpg").write_bytes(b'not an image, "quoted"\nat all\n')
    (folder / "sub1" / "07-bytes.webp").write_bytes(np.random.default_rng(1).bytes(999))
    return folder


@pytest.fixture
def start_scan():
    """Start `lineup scan` with the fake engine in a child process."""
    children = []

    def start(*arguments, delay_ms=0.0, **options):
        command = [sys.executable, str(FAKE_ENGINE), str(delay_ms), *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        children.append(subprocess.Popen(command, **options))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()
