"""Temperatures and clocks of made-up machines."""

from pathlib import Path

import pytest

from edge_occ.inspection.snapshot import MachineState
from edge_occ.runtime.thermals import read_machine

JETSON = {
    "class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "class/thermal/thermal_zone0/temp": "58375\n",
    "class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "class/thermal/thermal_zone1/temp": "-256000\n",
    "class/thermal/thermal_zone2/type": "tj-thermal\n",
    "class/thermal/thermal_zone2/temp": "61000\n",
    "class/thermal/cooling_device0/type": "pwm-fan\n",
    "class/thermal/cooling_device0/cur_state": "3\n",
    "class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "class/thermal/cooling_device1/cur_state": "0\n",
    "class/thermal/cooling_device2/type": "gpu-throttle-alert\n",
    "class/thermal/cooling_device2/cur_state": "0\n",
    "class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "class/devfreq/17000000.gpu/max_freq": "918000000\n",
    "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1459200\n",
    "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1459200\n",
    "devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq": "1459200\n",
    "devices/system/cpu/cpufreq/boost": "0\n",
}


def tree(root: Path, files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def test_a_device_has_its_temperatures_and_clocks(tmp_path):
    machine = read_machine(tree(tmp_path, JETSON))
    assert machine.temperatures == {"cpu-thermal": 58.375, "tj-thermal": 61.0}
    assert machine.temperature_max == 61.0
    assert machine.clocks == {"cpu": 0.75, "17000000.gpu": pytest.approx(1 / 3)}
    assert not machine.throttled, "a fan that turns and an idle processor are no throttling"


@pytest.mark.parametrize("device", ["cooling_device1", "cooling_device2"])
def test_a_device_that_lowers_clocks_is_throttling(tmp_path, device):
    assert read_machine(tree(tmp_path, {**JETSON, f"class/thermal/{device}/cur_state": "1\n"})).throttled


def test_a_machine_that_shows_nothing_has_nothing(tmp_path):
    assert read_machine(tmp_path) == read_machine(tmp_path / "missing") == MachineState()
    assert MachineState().temperature_max is None


@pytest.mark.parametrize(
    "content", ["", "hot\n", "1e9\n", "9" * 10_000, b"\xff\xfe", "150001\n", "-55001\n", "\n" * 200 + "40000"]
)
def test_a_file_that_holds_no_temperature_is_left_out(tmp_path, content):
    machine = read_machine(tree(tmp_path, {**JETSON, "class/thermal/thermal_zone2/temp": content}))
    assert machine.temperatures == {"cpu-thermal": 58.375}


@pytest.mark.parametrize("content", ["", "fast", "-5", "0"])
def test_a_clock_without_a_limit_is_left_out(tmp_path, content):
    wrong = {"class/devfreq/17000000.gpu/max_freq": content if content != "-5" else "0"}
    if content == "-5":
        wrong = {"class/devfreq/17000000.gpu/cur_freq": content}
    assert "17000000.gpu" not in read_machine(tree(tmp_path, {**JETSON, **wrong})).clocks


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    root = tree(tmp_path, JETSON)
    (root / "class/thermal/thermal_zone2/temp").unlink()
    (root / "class/thermal/thermal_zone2/temp").mkdir()
    (root / "class/thermal/thermal_zone0/type").unlink()
    assert read_machine(root).temperatures == {"thermal_zone0": 58.375}


def test_the_hottest_of_zones_with_one_name_counts(tmp_path):
    zones = {f"class/thermal/thermal_zone{i}/type": "acpitz" for i in range(3)}
    temperatures = {f"class/thermal/thermal_zone{i}/temp": str(40_000 + 1000 * (i % 2)) for i in range(3)}
    assert read_machine(tree(tmp_path, {**zones, **temperatures})).temperatures == {"acpitz": 41.0}


def test_a_thousand_zones_are_not_all_read(tmp_path):
    read_machine(tree(tmp_path, {f"class/thermal/thermal_zone{i}/temp": str(i) for i in range(1000)}))
    assert len(read_machine(tmp_path).temperatures) == 256


def test_this_machine_can_be_read():
    machine = read_machine()
    assert all(-55 <= degrees <= 150 for degrees in machine.temperatures.values())
    assert all(share >= 0 for share in machine.clocks.values())
