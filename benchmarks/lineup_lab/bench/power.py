"""Power draw, from whichever sensor the machine lets this process read."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineup.sampling import Watch

SAMPLE_INTERVAL_S = 0.2

INA_GLOB = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
INA_TOTAL_LABELS = frozenset({"VDD_IN", "VIN_SYS_5V0", "POM_5V_IN", "POM_5V0_IN"})
"""Names of the rail that feeds a whole Jetson module."""

RAPL = "class/powercap/intel-rapl:0/energy_uj"


@dataclass(frozen=True, slots=True)
class Power:
    """Power over a stretch of time.

    Attributes:
        mean_w: Mean of the samples, in watts.
        peak_w: Largest sample, in watts.
        sensor: Where it was read.
    """

    mean_w: float
    peak_w: float
    sensor: str


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor that can be read.

    Attributes:
        name: What it measures.
        watts: Returns the power since the last call, or at this moment.
    """

    name: str
    watts: Callable[[], float]


def find_sensor(sysfs: Path = Path("/sys")) -> Sensor | None:
    """Return a sensor of the board, the GPU or the processor; None when none can be read."""
    for find in (_jetson_sensor, _rapl_sensor):
        sensor = find(sysfs)
        if sensor is not None:
            return sensor
    return _nvidia_sensor()


class PowerWatch(Watch):
    """Samples a sensor in a thread, for the length of a `with` block."""

    def __init__(self, sensor: Sensor | None) -> None:
        super().__init__(SAMPLE_INTERVAL_S, can_sample=sensor is not None)
        self._sensor = sensor
        self._samples: list[float] = []

    @property
    def power(self) -> Power | None:
        """What was read; None without a sensor, or before its first sample."""
        if self._sensor is None or not self._samples:
            return None
        mean = sum(self._samples) / len(self._samples)
        return Power(mean_w=mean, peak_w=max(self._samples), sensor=self._sensor.name)

    def _sample(self) -> bool:
        assert self._sensor is not None
        try:
            self._samples.append(self._sensor.watts())
        except (OSError, ValueError, subprocess.SubprocessError):
            return False  # the sensor went away; what was read before still holds
        return True


def _jetson_sensor(sysfs: Path) -> Sensor | None:
    """Find the INA3221 channel of the whole module: millivolts times milliamperes."""
    for folder in sorted(sysfs.glob(INA_GLOB)):
        for label in sorted(folder.glob("in*_label")):
            name = _text(label)
            volts = label.with_name(label.name.replace("_label", "_input"))
            amperes = folder / volts.name.replace("in", "curr", 1)
            if name in INA_TOTAL_LABELS and _text(volts) and _text(amperes):
                return Sensor(
                    f"INA3221 {name}",
                    lambda v=volts, a=amperes: int(v.read_text()) * int(a.read_text()) / 1e6,  # type: ignore[misc]
                )
    return None


def _rapl_sensor(sysfs: Path) -> Sensor | None:
    """Find the energy counter of the processor package, which only root may read."""
    counter = sysfs / RAPL
    if not _text(counter):
        return None
    last = [(time.monotonic(), int(counter.read_text()))]

    def watts() -> float:
        now = time.monotonic(), int(counter.read_text())
        (before_s, before_uj), last[0] = last[0], now
        return max(0, now[1] - before_uj) / 1e6 / max(now[0] - before_s, 1e-6)

    return Sensor("RAPL package 0", watts)


def _nvidia_sensor() -> Sensor | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None

    def watts() -> float:
        done = subprocess.run(
            [tool, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return float(done.stdout)

    try:
        watts()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Sensor("NVML GPU 0", watts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
