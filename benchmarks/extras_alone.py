"""Whether each extra installs alone into an empty environment and works, and how large it is.

    python benchmarks/extras_alone.py [EXTRA ...] [--record]

Each extra, and none, is installed by pip into an environment of its own; a line of Python that
needs it runs there, and so does `lineup --version`. Sizes are those of the environment without pip,
in megabytes, compiled byte code left out. The index of packages has to answer; TensorRT's package
fetches its parts from NVIDIA's own. An extra that fails is reported, and the exit code is 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from _record import finish, parser_of, settings_of

ROOT = Path(__file__).parents[1]
NONE = "none"
PROOFS = {
    NONE: "import lineup; lineup.open().attribute",
    "bench": "import accelerate, diffusers, sklearn",
    "eval": "from lineup_lab.cli.eval import evaluate; import sklearn, scipy, matplotlib",
    "export": "from lineup_export.cli import export; import torch, onnx, diffusers, transformers",
    "openvino": "from lineup.backends.openvino import *; import openvino",
    "parquet": "from lineup.scan.arrow import row_schema; row_schema()",
    "pdf": "from lineup.report.exhibit import write_exhibit; import fpdf",
    "pull": "import onnx, onnx_ir, huggingface_hub",
    "ray": "import ray.data; from lineup.ray import attribute_dataset",
    "rtx": "import tensorrt_rtx",
    "serve": "from lineup.serve.app import app_from_engine; import uvicorn",
    "tensorrt": "import tensorrt",
    "train": "from lineup_models.cli import train; import torch, sklearn",
    "watch": "import watchfiles; from lineup.scan.arrivals import arrivals",
}
"""By extra: what runs where it is installed."""

LARGE = ("bench", "export", "rtx", "tensorrt", "train")
"""Gigabytes each: measured where they are named."""


def measure(extra: str, folder: Path) -> dict[str, Any]:
    """Install an extra into an empty environment; return how large it is there.

    Raises:
        subprocess.CalledProcessError: It does not install, or does not do its work.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    target = str(ROOT) if extra == NONE else f"{ROOT}[{extra}]"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", target]
    subprocess.run(install, check=True)
    subprocess.run([python, "-I", "-c", PROOFS[extra]], check=True, cwd=folder)
    subprocess.run([folder / "bin" / "lineup", "--version"], check=True, stdout=subprocess.DEVNULL)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    files = [one for one in packages.rglob("*") if one.is_file() and not one.is_symlink()]
    kept = [one for one in files if not _is_left_out(one.relative_to(packages))]
    listed = {one.name for one in packages.glob("*.dist-info")}
    return {
        "megabytes": round(sum(one.stat().st_size for one in kept) / 1e6, 1),
        "packages": sum(not name.startswith("pip-") for name in listed),
    }


def _is_left_out(path: Path) -> bool:
    return path.parts[0] == "pip" or path.parts[0].startswith("pip-") or path.suffix == ".pyc"


def main() -> None:
    """Parse the command line, measure, print the table and the JSON line."""
    parser = parser_of(__doc__)
    usual = [one for one in PROOFS if one not in LARGE]
    parser.add_argument("extras", nargs="*", default=usual, choices=[*PROOFS], metavar="EXTRA")
    arguments = parser.parse_args()
    results = {}
    for extra in arguments.extras:
        with tempfile.TemporaryDirectory() as name:
            try:
                results[extra] = found = measure(extra, Path(name))
            except subprocess.CalledProcessError as error:
                command = " ".join(str(part) for part in error.cmd[1:])
                results[extra] = {"failed": f"exit code {error.returncode}: {command}"}
                print(f"{extra:<10}   failed, see above")
                continue
        print(f"{extra:<10}{found['megabytes']:>9.1f} MB{found['packages']:>5} packages")
        sys.stdout.flush()
    finish("extras_alone", settings_of(arguments, "extras"), results, record=arguments.record)
    sys.exit(any("failed" in one for one in results.values()))


if __name__ == "__main__":
    main()
