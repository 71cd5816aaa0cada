"""Meters in fabricated sysfs trees: names, units, wraps, refusals."""

import os
import sys
import types

import pytest

from cs3d_ros.power import (
    TOTAL,
    EnergyPerInference,
    Ina3221Source,
    NvmlSource,
    PowerMeter,
    PowerSource,
    RaplSource,
    find_sources,
)


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text('{}\n'.format(text))


def nano_tree(root):
    """Jetson Nano, JetPack 4: milliwatts by iio."""
    device = root / 'sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0'
    write(
        device,
        rail_name_0='POM_5V_IN',
        in_power0_input=4200,
        rail_name_1='POM_5V_GPU',
        in_power1_input=300,
        rail_name_2='POM_5V_CPU',
        in_power2_input=1500,
    )


def orin_tree(root):
    """AGX Orin, JetPack 6: two chips by hwmon, one channel not connected."""
    drivers = root / 'sys/bus/i2c/drivers/ina3221'
    write(
        drivers / '1-0040/hwmon/hwmon3',
        in1_label='VDD_GPU_SOC',
        in1_input=20000,
        curr1_input=300,
        in2_label='NC',
        in2_input=5000,
        curr2_input=9,
        in7_label='sum of shunt voltages',
        in7_input=7,
        curr7_input=7,
    )
    write(
        drivers / '1-0041/hwmon/hwmon4', in1_label='VIN_SYS_5V0', in1_input=5000, curr1_input=800
    )


def rapl_zone(root, name, label, energy_uj, range_uj=1000):
    zone = root / 'sys/class/powercap' / name
    write(zone, name=label, energy_uj=energy_uj, max_energy_range_uj=range_uj)
    return zone


def test_machine_without_meters_has_no_sources(tmp_path):
    assert find_sources(str(tmp_path)) == []


def test_nano_rails_are_read_by_their_names_in_watts(tmp_path):
    nano_tree(tmp_path)
    (source,) = find_sources(str(tmp_path))
    assert source.read() == {'POM_5V_IN': 4.2, 'POM_5V_GPU': 0.3, 'POM_5V_CPU': 1.5}


def test_total_of_a_nano_is_its_input_rail_alone(tmp_path):
    nano_tree(tmp_path)
    (source,) = find_sources(str(tmp_path))
    assert source.total(source.read()) == 4.2


def test_orin_power_is_volt_times_ampere_of_connected_channels(tmp_path):
    orin_tree(tmp_path)
    (source,) = find_sources(str(tmp_path))
    assert source.read() == pytest.approx({'VDD_GPU_SOC': 6.0, 'VIN_SYS_5V0': 4.0})


def test_total_of_an_orin_is_the_sum_of_its_rails(tmp_path):
    orin_tree(tmp_path)
    (source,) = find_sources(str(tmp_path))
    assert source.total(source.read()) == pytest.approx(10.0)


def test_chip_listed_under_devices_is_found_once(tmp_path):
    nano_tree(tmp_path)
    chip = tmp_path / 'sys/bus/i2c/drivers/ina3221x/6-0040'
    write(chip, name='ina3221x')
    devices = tmp_path / 'sys/bus/i2c/devices'
    devices.mkdir(parents=True)
    (devices / '6-0040').symlink_to(chip)
    (source,) = find_sources(str(tmp_path))
    assert len(source.rails) == 3


def test_rail_that_does_not_answer_is_left_out():
    def broken():
        raise OSError('EAGAIN')

    source = Ina3221Source({'VDD_A': lambda: 1.0, 'VDD_B': broken})
    assert source.read() == {'VDD_A': 1.0}
    assert source.total(source.read()) is None


def test_rapl_power_is_energy_over_time(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0, 10**9)
    clock = Clock()
    source = RaplSource({'package-0': str(zone)}, clock)
    assert source.read() == {}
    write(zone, energy_uj=5000000)
    clock.now_s += 0.5
    assert source.read() == pytest.approx({'package-0': 10.0})


def test_rapl_counter_may_wrap(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 900000, 1000000)
    clock = Clock()
    source = RaplSource({'package-0': str(zone)}, clock)
    source.read()
    write(zone, energy_uj=100000)
    clock.now_s += 1.0
    assert source.read() == pytest.approx({'package-0': 0.2})


def test_rapl_total_counts_packages_and_dram_once(tmp_path):
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    rapl_zone(tmp_path, 'intel-rapl:0:0', 'core', 0)
    rapl_zone(tmp_path, 'intel-rapl:0:1', 'dram', 0)
    rapl_zone(tmp_path, 'intel-rapl:1', 'psys', 0)
    (source,) = find_sources(str(tmp_path))
    watts = {'package-0': 10.0, 'package-0/core': 8.0, 'package-0/dram': 2.0, 'psys': 30.0}
    assert set(source.rails) == set(watts)
    assert source.total(watts) == 12.0


def test_unreadable_counter_says_so_with_the_cure(tmp_path, monkeypatch):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    real_open = open

    def refuse(path, *args, **kwargs):  # root may read anything: chmod proves nothing in CI
        if str(path).endswith('energy_uj') and 'max' not in str(path):
            raise PermissionError(13, 'Permission denied', str(path))
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', refuse)
    (source,) = find_sources(str(tmp_path))
    assert source.rails == ()
    assert 'chmod a+r {}'.format(os.path.join(str(zone), 'energy_uj')) in source.problem


def test_garbage_in_a_counter_is_a_problem_not_a_crash(tmp_path):
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 'abc')
    (source,) = find_sources(str(tmp_path))
    assert source.rails == () and 'energy counters' in source.problem


class FakeNvml(types.ModuleType):
    """Two GPUs that answer, or a driver that refuses as NVML does."""

    class NVMLError(Exception):
        pass

    def __init__(self, fails=False):
        super().__init__('pynvml')
        self.fails = fails

    def nvmlInit(self):
        if self.fails:
            raise self.NVMLError('Driver Not Loaded')

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetPowerUsage(self, handle):
        return 70000 + handle


def test_gpus_are_rails_in_watts():
    assert NvmlSource(FakeNvml()).read() == pytest.approx({'gpu0': 70.0, 'gpu1': 70.001})


def test_nvml_without_a_driver_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pynvml', FakeNvml(fails=True))
    (nvml,) = [source for source in find_sources('/') if source.name == 'nvml']
    assert nvml.rails == () and 'Driver Not Loaded' in nvml.problem


class Scripted(PowerSource):
    """A source that answers one reading after the other."""

    name = 'fake'

    def __init__(self, *readings):
        super().__init__(('a', 'b'))
        self._readings = list(readings)

    def read(self):
        return self._readings.pop(0)


def test_meter_gives_statistics_per_rail_and_total():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 2.0}, {'a': 3.0, 'b': 2.0})], clock)
    for _ in range(2):
        clock.now_s += 0.5
        meter.sample()
    window = meter.take()
    assert window.rails['fake/a'] == (2.0, 1.0, 3.0, 1.0, 2)
    assert window.rails[TOTAL] == (4.0, 3.0, 5.0, 1.0, 2)


def test_energy_is_power_times_time():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 1.0}, {'a': 3.0, 'b': 1.0})], clock)
    for _ in range(2):
        clock.now_s += 0.5
        meter.sample()
    assert meter.take().energy_j == pytest.approx(3.0)


def test_total_waits_until_every_rail_answers():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0}, {'a': 1.0, 'b': 1.0})], clock)
    for _ in range(2):
        clock.now_s += 1.0
        meter.sample()
    window = meter.take()
    assert window.rails[TOTAL].count == 1 and window.energy_j is None


def test_second_window_begins_where_the_first_ended():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 1.0})], clock)
    clock.now_s += 1.0
    meter.sample()
    first, second = meter.take(), meter.take()
    assert (second.start_s, second.rails, second.energy_j) == (first.stop_s, {}, None)


def test_meter_without_sources_measures_nothing():
    meter = PowerMeter([PowerSource(problem='no permission')])
    meter.sample()
    window = meter.take()
    assert not meter.is_measuring and window.rails == {} and window.energy_j is None


def scripted_meter(clock, *totals):
    return PowerMeter([Scripted(*({'a': watts, 'b': 0.0} for watts in totals))], clock)


def test_energy_per_inference_is_that_between_two_reports():
    clock = Clock()
    meter = scripted_meter(clock, 4.0, 4.0)
    energy = EnergyPerInference(meter)
    assert energy.push(100) is None
    for _ in range(2):
        clock.now_s += 0.5
        meter.sample()
    assert energy.push(108) == pytest.approx(0.5)


def test_engine_that_began_anew_gives_no_energy_per_inference():
    clock = Clock()
    meter = scripted_meter(clock, 4.0)
    energy = EnergyPerInference(meter)
    energy.push(100)
    clock.now_s += 1.0
    meter.sample()
    assert energy.push(3) is None


def test_unknown_power_in_between_gives_no_energy_per_inference():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0}, {'a': 1.0, 'b': 1.0})], clock)
    energy = EnergyPerInference(meter)
    energy.push(0)
    for _ in range(2):
        clock.now_s += 1.0
        meter.sample()
    assert energy.push(10) is None
