"""Meters in fabricated sysfs trees: names, units, wraps, refusals, nonsense."""

import shutil
import sys
import types

import pytest
from power_trees import (
    agx_tree,
    chip,
    forbid,
    nano_tree,
    orin_nano_tree,
    rapl_zone,
    supply,
    write,
)

from cs3d_ros.power import NvmlSource, find_sources, no_meter, problems_of


def only(root):
    """Return the one source of a tree."""
    (source,) = find_sources(str(root))
    return source


def named(root, name):
    (source,) = [source for source in find_sources(str(root)) if source.name == name]
    return source


def read(source, now_s=100.0):
    return source.read(now_s)


def test_machine_without_meters_has_no_sources(tmp_path):
    assert find_sources(str(tmp_path)) == []


def test_without_a_meter_it_is_said_how_to_get_one():
    assert '\n' not in no_meter([])
    for way in ('INA3221', 'RAPL', 'nvidia-ml-py', 'battery', 'INA226'):
        assert way in no_meter([])


# Jetsons.


def test_nano_rails_are_read_by_their_names_in_watts(tmp_path):
    nano_tree(tmp_path)
    expected = {'POM_5V_IN': 4.2, 'POM_5V_GPU': 0.3, 'POM_5V_CPU': 1.5}
    assert read(only(tmp_path)) == pytest.approx(expected)


def test_rails_in_another_order_keep_their_names(tmp_path):
    device = nano_tree(tmp_path)
    write(device, rail_name_1='POM_5V_CPU', rail_name_2='POM_5V_GPU')
    expected = {'POM_5V_IN': 4.2, 'POM_5V_CPU': 0.3, 'POM_5V_GPU': 1.5}
    assert read(only(tmp_path)) == pytest.approx(expected)


def test_total_of_a_nano_is_its_input_rail_alone(tmp_path):
    nano_tree(tmp_path)
    source = only(tmp_path)
    assert source.total(read(source)) == pytest.approx(4.2)


def test_orin_power_is_volt_times_ampere_of_connected_channels(tmp_path):
    agx_tree(tmp_path)
    expected = {'VDD_GPU_SOC': 6.0, 'VIN_SYS_5V0': 4.0}
    assert read(only(tmp_path)) == pytest.approx(expected)


def test_total_of_an_orin_nano_is_its_input_rail_alone(tmp_path):
    orin_nano_tree(tmp_path)
    source = only(tmp_path)
    watts = read(source)
    assert watts == pytest.approx({'VDD_IN': 5.0, 'VDD_CPU_GPU_CV': 1.5, 'VDD_SOC': 1.0})
    assert source.total(watts) == pytest.approx(5.0)


def test_total_of_an_agx_is_the_sum_of_its_rails(tmp_path):
    agx_tree(tmp_path)
    source = only(tmp_path)
    assert source.total(read(source)) == pytest.approx(10.0)


def test_chip_listed_under_devices_and_hwmon_is_found_once(tmp_path):
    device = orin_nano_tree(tmp_path)
    one = device.parent.parent
    write(one, name='ina3221')
    for folder, name, target in (
        ('bus/i2c/devices', '1-0040', one),
        ('class/hwmon', 'hwmon3', device),
    ):
        (tmp_path / 'sys' / folder).mkdir(parents=True)
        (tmp_path / 'sys' / folder / name).symlink_to(target)
    assert len(only(tmp_path).rails) == 3


def test_two_rails_of_one_label_are_both_there(tmp_path):
    device = nano_tree(tmp_path)
    write(device, rail_name_2='POM_5V_GPU')
    assert only(tmp_path).rails == ('POM_5V_GPU', 'POM_5V_GPU 2', 'POM_5V_IN')


# What makes no sense.

NONSENSE = ['-4200', 'nan', 'inf', 'error', '', '4.2', '9' * 40, '42\x0042', '99999999']


@pytest.mark.parametrize('text', NONSENSE)
def test_nonsense_is_left_out_and_counted(tmp_path, text):
    write(nano_tree(tmp_path), in_power0_input=text)
    source = only(tmp_path)
    for _ in range(3):
        assert sorted(read(source)) == ['POM_5V_CPU', 'POM_5V_GPU']
    assert source.total(read(source)) is None
    assert source.faults['POM_5V_IN'].count == 4
    assert list(source.missing) == ['POM_5V_IN']
    assert '\n' not in source.missing['POM_5V_IN']


@pytest.mark.parametrize('file', ['in1_input', 'curr1_input'])
def test_negative_volts_or_amperes_make_no_power(tmp_path, file):
    write(orin_nano_tree(tmp_path), **{file: -5000})
    source = only(tmp_path)
    assert 'VDD_IN' not in read(source)
    assert file in source.missing['VDD_IN']


def test_bytes_that_are_no_text_are_left_out(tmp_path):
    (nano_tree(tmp_path) / 'in_power0_input').write_bytes(b'\xff\xfe\x00')
    assert 'POM_5V_IN' not in read(only(tmp_path))


def test_rail_that_comes_back_to_its_senses_is_read_again(tmp_path):
    device = write(nano_tree(tmp_path), in_power0_input='')
    source = only(tmp_path)
    read(source)
    write(device, in_power0_input=4000)
    assert source.total(read(source)) == pytest.approx(4.0)
    assert source.missing == {} and source.faults['POM_5V_IN'].count == 1


def test_device_that_disappears_is_named_and_may_come_back(tmp_path):
    device = orin_nano_tree(tmp_path)
    source = only(tmp_path)
    shutil.rmtree(str(device))
    assert read(source) == {}
    assert 'No such file' in source.missing['VDD_IN']
    orin_nano_tree(tmp_path)
    assert read(source)['VDD_IN'] == pytest.approx(5.0)


def test_rail_that_answers_with_an_error_leaves_the_others(tmp_path):
    device = nano_tree(tmp_path)
    source = only(tmp_path)
    (device / 'in_power1_input').unlink()
    (device / 'in_power1_input').mkdir()  # reading it fails, as a chip that is busy does
    assert sorted(read(source)) == ['POM_5V_CPU', 'POM_5V_IN']


def test_rail_that_may_not_be_read_says_so_with_the_cure(tmp_path, monkeypatch):
    device = nano_tree(tmp_path)
    forbid(monkeypatch, 'in_power1_input')
    source = only(tmp_path)
    assert sorted(read(source)) == ['POM_5V_CPU', 'POM_5V_IN']
    cure = 'chmod a+r {}'.format(device / 'in_power1_input')
    assert problems_of([source])[0].startswith('ina3221: ') and cure in source.problem


# Energy counters.


def test_rapl_power_is_energy_over_time(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    source = only(tmp_path)
    assert source.read(100.0) == {}
    write(zone, energy_uj=5000000)
    assert source.read(100.5) == pytest.approx({'package-0': 10.0})


def test_rapl_counter_may_wrap(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 262143000000)
    source = only(tmp_path)
    source.read(100.0)
    write(zone, energy_uj=171150)
    assert source.read(101.0) == pytest.approx({'package-0': 0.5})


def test_rapl_counter_that_may_have_wrapped_twice_is_refused(tmp_path):
    # 262 kJ last for 262 s at the most that a package can draw, 1 kW
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 1000)
    source = only(tmp_path)
    source.read(100.0)
    write(zone, energy_uj=2000)
    assert source.read(500.0) == {}
    assert 'wrapped' in source.missing['package-0']
    write(zone, energy_uj=1002000)
    assert source.read(500.1) == pytest.approx({'package-0': 10.0})


def test_rapl_counter_of_64_bits_may_be_read_seldom(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0, 2**60)
    source = only(tmp_path)
    source.read(100.0)
    write(zone, energy_uj=10 * 3600 * 1000000)
    assert source.read(3700.0) == pytest.approx({'package-0': 10.0})


def test_counter_that_fails_once_tells_the_mean_since_then(tmp_path):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    source = only(tmp_path)
    source.read(100.0)
    write(zone, energy_uj='')
    assert source.read(101.0) == {}
    write(zone, energy_uj=6000000)
    assert source.read(102.0) == pytest.approx({'package-0': 3.0})


def test_rapl_total_counts_packages_and_dram_once(tmp_path):
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    rapl_zone(tmp_path, 'intel-rapl:0:0', 'core', 0)
    rapl_zone(tmp_path, 'intel-rapl:0:1', 'dram', 0)
    rapl_zone(tmp_path, 'intel-rapl:1', 'psys', 0)
    rapl_zone(tmp_path, 'intel-rapl-mmio:0', 'package-0', 0)
    source = only(tmp_path)
    watts = {'package-0': 10.0, 'package-0/core': 8.0, 'package-0/dram': 2.0, 'psys': 30.0}
    assert set(source.rails) == set(watts)
    assert source.total(watts) == 12.0


def test_unreadable_counter_says_so_with_the_cure(tmp_path, monkeypatch):
    zone = rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    forbid(monkeypatch, '/energy_uj')
    source = only(tmp_path)
    assert source.rails == ()
    assert 'chmod a+r {}'.format(zone / 'energy_uj') in source.problem
    assert 'chmod a+r' in no_meter([source])


def test_second_package_that_may_not_be_read_leaves_no_total(tmp_path, monkeypatch):
    zones = [
        rapl_zone(tmp_path, 'intel-rapl:{}'.format(k), 'package-{}'.format(k), 0) for k in (0, 1)
    ]
    forbid(monkeypatch, str(zones[1] / 'energy_uj'))
    source = only(tmp_path)
    source.read(100.0)
    write(zones[0], energy_uj=1000000)
    watts = source.read(101.0)
    assert watts == {'package-0': 1.0} and source.total(watts) is None


# Batteries and inputs.

BATTERY = {'type': 'Battery', 'status': 'Discharging'}


def test_battery_that_discharges_tells_what_is_drawn(tmp_path):
    supply(tmp_path, 'BAT0', power_now=12500000, **BATTERY)
    supply(tmp_path, 'AC', type='Mains', online=0)
    source = only(tmp_path)
    assert source.name == 'supply'
    assert source.total(read(source)) == pytest.approx(12.5)


@pytest.mark.parametrize('current', [1500000, -1500000])
def test_battery_that_tells_current_and_voltage_of_either_sign(tmp_path, current):
    supply(tmp_path, 'BAT0', current_now=current, voltage_now=11400000, **BATTERY)
    assert read(only(tmp_path)) == pytest.approx({'BAT0': 17.1})


@pytest.mark.parametrize('status', ['Charging', 'Full', 'Not charging', 'Unknown'])
def test_battery_that_does_not_discharge_tells_nothing(tmp_path, status):
    supply(tmp_path, 'BAT0', type='Battery', status=status, power_now=30000000)
    source = only(tmp_path)
    watts = read(source)
    assert watts == {} and source.total(watts) is None
    assert 'BAT0' in source.silence() and source.missing == {}


def test_battery_beside_an_input_without_meter_is_not_all(tmp_path):
    supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    supply(tmp_path, 'AC', type='Mains', online=1)
    source = only(tmp_path)
    watts = read(source)
    assert watts == {'BAT0': 5.0} and source.total(watts) is None
    assert 'AC' in source.silence()


def test_two_batteries_add_up_and_a_resting_one_adds_nothing(tmp_path):
    supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    supply(tmp_path, 'BAT1', power_now=7000000, **BATTERY)
    supply(tmp_path, 'BAT2', type='Battery', status='Not charging', power_now=0)
    source = only(tmp_path)
    assert source.total(read(source)) == pytest.approx(12.0)


def test_battery_beside_one_without_meter_is_not_all(tmp_path):
    supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    supply(tmp_path, 'BAT1', **BATTERY)
    source = only(tmp_path)
    assert source.total(read(source)) is None and 'BAT1' in source.silence()


def test_battery_beside_one_that_may_not_be_read_is_not_all(tmp_path, monkeypatch):
    supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    supply(tmp_path, 'BAT1', power_now=5000000, **BATTERY)
    forbid(monkeypatch, 'BAT1/power_now')
    source = only(tmp_path)
    watts = read(source)
    assert watts == {'BAT0': 5.0} and source.total(watts) is None


def test_battery_of_a_mouse_is_none_of_the_machine(tmp_path):
    supply(tmp_path, 'hid-00-battery', scope='Device', power_now=1000, **BATTERY)
    assert find_sources(str(tmp_path)) == []


@pytest.mark.parametrize('name', ['ucsi-source-psy-USBC000:001', 'tcpm-source-psy-4-0022'])
def test_what_a_charger_agreed_to_is_no_measurement(tmp_path, name):
    # 20 V and 3 A stand there whatever the machine draws
    supply(tmp_path, name, type='USB', online=1, voltage_now=20000000, current_now=3000000)
    assert find_sources(str(tmp_path)) == []
    supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    source = only(tmp_path)
    assert source.rails == ('BAT0',) and source.total(read(source)) is None


def test_usb_input_with_a_meter_tells_what_is_drawn(tmp_path):
    supply(tmp_path, 'axp20x-usb', type='USB', online=1, voltage_now=5000000, current_now=1000000)
    battery = supply(tmp_path, 'axp20x-battery', type='Battery', status='Full', power_now=0)
    source = only(tmp_path)
    assert source.total(read(source)) == pytest.approx(5.0)
    write(battery, status='Charging')
    assert source.total(read(source)) is None


def test_battery_that_claims_to_give_nothing_has_not_measured_yet(tmp_path):
    supply(tmp_path, 'BAT0', power_now=0, **BATTERY)
    source = only(tmp_path)
    assert read(source) == {} and '0 W' in source.missing['BAT0']


def test_battery_that_is_pulled_out_is_named(tmp_path):
    battery = supply(tmp_path, 'BAT0', power_now=5000000, **BATTERY)
    source = only(tmp_path)
    shutil.rmtree(str(battery))
    watts = read(source)
    assert source.total(watts) is None and 'No such file' in source.missing['BAT0']


# Other chips.


def test_wired_chip_is_a_rail_by_its_label_or_address(tmp_path):
    chip(tmp_path, 0, 'ina226', power1_input=5500000, label='robot supply')
    device = chip(tmp_path, 1, 'ina219', power1_input=250000)
    write(tmp_path / 'sys/devices/i2c-1/1-0041')
    (device / 'device').symlink_to(tmp_path / 'sys/devices/i2c-1/1-0041')
    source = only(tmp_path)
    assert source.name == 'ina2xx'
    assert read(source) == pytest.approx({'robot supply': 5.5, 'ina219 1-0041': 0.25})


def test_light_of_an_optical_transceiver_is_no_power_of_the_machine(tmp_path):
    chip(tmp_path, 0, 'sfp', power1_input=500, power1_label='TX_power')
    chip(tmp_path, 1, 'nvme', temp1_input=40000)
    assert find_sources(str(tmp_path)) == []


def test_meter_of_the_firmware_tells_the_whole_machine(tmp_path):
    chip(tmp_path, 0, 'power_meter', power1_average=230000000)
    source = only(tmp_path)
    assert (source.name, source.covers) == ('acpi', 'machine')
    assert source.total(read(source)) == pytest.approx(230.0)


def test_graphics_on_the_die_are_not_counted_beside_the_package(tmp_path):
    chip(tmp_path, 0, 'amdgpu', power1_input=9000000, in1_label='vddnb')
    chip(tmp_path, 1, 'amdgpu', power1_average=120000000, in0_label='vddgfx')
    source = only(tmp_path)
    assert source.total(read(source)) == pytest.approx(129.0)
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    source = named(tmp_path, 'amdgpu')
    assert len(read(source)) == 2 and source.total(read(source)) == pytest.approx(120.0)


# NVIDIA's library.


class FakeNvml(types.ModuleType):
    """Cards that answer, do not support it, or a driver that refuses as NVML does."""

    class NVMLError(Exception):
        pass

    def __init__(self, *milliwatts, **options):
        super().__init__('pynvml')
        self.milliwatts = list(milliwatts)
        self.driver = options.get('driver', True)

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError('Driver Not Loaded')

    def nvmlDeviceGetCount(self):
        return len(self.milliwatts)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetPowerUsage(self, handle):
        if self.milliwatts[handle] is None:
            raise self.NVMLError('Not Supported')
        return self.milliwatts[handle]


def test_cards_are_rails_in_watts():
    source = NvmlSource(FakeNvml(70000, 70001))
    assert read(source) == pytest.approx({'gpu0': 70.0, 'gpu1': 70.001})


def test_card_without_a_meter_leaves_the_others():
    source = NvmlSource(FakeNvml(None, 70000))
    assert read(source) == {'gpu1': 70.0} and 'gpu0' in source.problem


def test_card_that_falls_off_the_bus_is_named():
    nvml = FakeNvml(70000)
    source = NvmlSource(nvml)
    nvml.milliwatts[0] = None
    assert read(source) == {} and 'Not Supported' in source.missing['gpu0']


def test_nvml_without_a_driver_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pynvml', FakeNvml(driver=False))
    nvml = named('/', 'nvml')
    assert nvml.rails == () and 'Driver Not Loaded' in nvml.problem
