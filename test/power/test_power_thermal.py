"""Temperatures and throttling in fabricated trees."""

import shutil

import pytest
from power_trees import chip, cooler, write, zone

from cs3d_ros.power import Throttling, temperatures

POLICY = 'sys/devices/system/cpu/cpufreq/policy0'
CORE = 'sys/devices/system/cpu/cpu0/thermal_throttle'


def test_temperatures_are_degrees_by_the_names_of_the_zones(tmp_path):
    zone(tmp_path, 0, 'CPU-therm', 45500)
    zone(tmp_path, 1, 'GPU-therm', -5000)
    assert temperatures(str(tmp_path)) == {'CPU-therm': 45.5, 'GPU-therm': -5.0}


@pytest.mark.parametrize('temp', ['', 'hot', '-256000', '1000000', 'nan'])
def test_zone_that_is_off_or_tells_nonsense_is_left_out(tmp_path, temp):
    zone(tmp_path, 0, 'cv0-thermal', temp)
    zone(tmp_path, 1, 'tj-thermal', 50000)
    assert temperatures(str(tmp_path)) == {'tj-thermal': 50.0}


def test_constant_of_the_nano_is_no_temperature(tmp_path):
    zone(tmp_path, 4, 'PMIC-Die', 100000)
    assert temperatures(str(tmp_path)) == {}


def test_zones_of_one_name_are_all_there(tmp_path):
    for number in (0, 1):
        zone(tmp_path, number, 'acpitz', 30000 + number * 1000)
    assert temperatures(str(tmp_path)) == {'acpitz': 30.0, 'acpitz 2': 31.0}


def test_machine_that_tells_nothing_is_not_throttled(tmp_path):
    assert Throttling(str(tmp_path)).push() == []


@pytest.mark.parametrize(
    'kind',
    ['cpu-throttle-alert', 'gpu-balanced', 'cpufreq-cpu0', 'thermal-cpufreq-0', 'Processor'],
)
def test_cooling_by_slowing_down_is_throttling(tmp_path, kind):
    device = cooler(tmp_path, 0, kind, 0)
    throttling = Throttling(str(tmp_path))
    assert throttling.push() == []
    write(device, cur_state=2)
    assert throttling.push() == [kind + ' at 2']


@pytest.mark.parametrize('kind', ['pwm-fan', 'TCC Offset', 'LCD', ''])
def test_fans_and_settings_are_no_throttling(tmp_path, kind):
    cooler(tmp_path, 0, kind, 5)
    assert Throttling(str(tmp_path)).push() == []


@pytest.mark.parametrize('state', ['', 'x', '-1'])
def test_cooling_device_that_tells_nonsense_is_no_throttling(tmp_path, state):
    cooler(tmp_path, 0, 'Processor', state)
    assert Throttling(str(tmp_path)).push() == []


def test_clock_cap_of_a_power_mode_is_no_throttling_but_a_lower_one_is(tmp_path):
    # 5 W of a Nano: 918 of 1479 MHz
    policy = write(tmp_path / POLICY, cpuinfo_max_freq=1479000, scaling_max_freq=918000)
    graphics = cooler(tmp_path, 0, 'devfreq-17000000.gpu', 18)
    throttling = Throttling(str(tmp_path))
    assert throttling.push() == []
    write(policy, scaling_max_freq=614400)
    write(graphics, cur_state=20)
    assert throttling.push() == [
        'devfreq-17000000.gpu step at -20 after -18',
        'policy0 MHz at 614 after 918',
    ]
    write(policy, scaling_max_freq=918000)
    write(graphics, cur_state=18)
    assert throttling.push() == []


def test_counters_that_move_are_throttling_since_the_last_look(tmp_path):
    core = write(tmp_path / CORE, core_throttle_count=7, package_throttle_count=320794)
    supply = chip(tmp_path, 3, 'soctherm_oc', oc1_event_cnt=0, oc3_event_cnt=37)
    throttling = Throttling(str(tmp_path))
    assert throttling.push() == []
    write(core, package_throttle_count=320795)
    assert throttling.push() == ['processor too hot']
    write(supply, oc3_event_cnt=40)
    assert throttling.push() == ['over-current or low voltage']
    assert throttling.push() == []


def test_device_that_disappears_is_no_throttling(tmp_path):
    chip(tmp_path, 3, 'soctherm_oc', oc3_event_cnt=37)
    policy = write(tmp_path / POLICY, scaling_max_freq=918000)
    throttling = Throttling(str(tmp_path))
    shutil.rmtree(str(policy))
    shutil.rmtree(str(tmp_path / 'sys/class/hwmon'))
    assert throttling.push() == []
