from __future__ import annotations

import subprocess
import sys


def test_importing_the_bundles_loads_neither_jsonschema_nor_filelock() -> None:
    program = (
        "import sys, lineup.bundles.manifest_file, lineup.bundles.store, lineup.bundles.writer\n"
        "print([name for name in ('jsonschema', 'filelock', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
