import time

from lineup_lab.bench.harness import INA_GLOB, RAPL, PowerWatch, Sensor, find_sensor


def test_a_jetsons_rail_is_volts_times_amperes(tmp_path):
    folder = tmp_path / INA_GLOB.replace("hwmon*", "hwmon3").replace("*", "1-0040")
    folder.mkdir(parents=True)
    for name, text in {
        "in1_label": "VDD_CPU", "in1_input": "5000", "curr1_input": "100",
        "in2_label": "VDD_IN", "in2_input": "5000", "curr2_input": "2500",
    }.items():  # fmt: skip
        (folder / name).write_text(text + "\n")
    sensor = find_sensor(tmp_path)
    assert sensor.name == "INA3221 VDD_IN"
    assert sensor.watts() == 12.5


def test_a_processors_counter_gives_energy_over_time(tmp_path):
    counter = tmp_path / RAPL
    counter.parent.mkdir(parents=True)
    counter.write_text("1000000\n")
    sensor = find_sensor(tmp_path)
    time.sleep(0.05)
    counter.write_text("2000000\n")
    assert sensor.name == "RAPL package 0"
    assert 1 / 0.5 < sensor.watts() <= 1 / 0.05


def test_without_a_sensor_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_sensor(tmp_path) is None
    with PowerWatch(None) as watch:
        pass
    assert watch.power is None


def test_samples_become_mean_and_peak(monkeypatch):
    monkeypatch.setattr("lineup_lab.bench.harness.SAMPLE_INTERVAL_S", 0.001)
    values = iter([1.0, 3.0])
    with PowerWatch(Sensor("toy", lambda: next(values, 2.0))) as watch:
        time.sleep(0.1)
    assert watch.power["peak"] == 3.0
    assert 1.0 < watch.power["mean"] < 3.0
    assert watch.power["sensor"] == "toy"
