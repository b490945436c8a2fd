"""What the laboratory loads, proven in child processes."""

import json
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).parents[2] / "benchmarks" / "lineup_lab"
OF_THE_EXTRA = {"sklearn", "scipy", "matplotlib"}


def test_the_bench_needs_nothing_of_the_extra():
    names = [f"lineup_lab.bench.{path.stem}" for path in sorted((LAB / "bench").glob("*.py"))]
    imports = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    program = (
        f"import json, sys\n{imports}\nfrom click.testing import CliRunner\n"
        "from lineup.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['bench', 'run', '--help']).exit_code == 0\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "lineup_lab" in loaded
    assert loaded & OF_THE_EXTRA == set()
