"""The runtime stays lean: proven in child processes, where no other test has imported anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "engine"
HEAVY = {"torch", "onnx", "transformers", "optimum", "diffusers", "sklearn", "scipy", "matplotlib"}
HEAVY |= {"pyarrow", "ray"}
SLOW_TO_LOAD = {"numpy", "cv2", "onnxruntime", "rich", "msgspec", "jinja2", "PIL", "uvicorn"}
# uvicorn loads it where it is there.
SLOW_TO_LOAD |= {"watchfiles"}


def modules_after(code):
    """Return the top-level modules loaded in a fresh interpreter that ran `code`."""
    listing = "print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))"
    program = f"import sys, json\n{code}\n{listing}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def runtime_modules():
    files = sorted((ENGINE / "lineup").rglob("*.py"))
    names = [".".join(file.relative_to(ENGINE).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_no_runtime_module_loads_training_or_export_code():
    imports = "\n".join(f"import {name}" for name in runtime_modules())

    loaded = modules_after(imports)

    assert loaded & (HEAVY | {"lineup_models", "lineup_export", "lineup_lab"}) == set()


def test_the_command_table_loads_nothing_slow():
    loaded = modules_after(
        "from click.testing import CliRunner\n"
        "from lineup.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0"
    )

    assert loaded & (HEAVY | SLOW_TO_LOAD) == set()


def test_import_lineup_loads_nothing_slow():
    assert modules_after("import lineup") & (HEAVY | SLOW_TO_LOAD) == set()


@pytest.mark.parametrize("command", ["train", "export"])
def test_help_of_heavy_commands_needs_no_torch(command):
    loaded = modules_after(
        "from click.testing import CliRunner\n"
        "from lineup.cli.main import cli\n"
        f"result = CliRunner().invoke(cli, ['{command}', '--help'])\n"
        "assert result.exit_code == 0, result.output"
    )

    assert "torch" not in loaded
