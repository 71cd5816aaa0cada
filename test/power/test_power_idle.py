"""Idle power with its conditions, and joules above it."""

import json
import os
import time

import pytest
from power_trees import BusyMeter, nano_tree, orin_nano_tree, write

from cs3d_ros.power import (
    Conditions,
    Idle,
    PowerError,
    PowerMeter,
    PowerWindow,
    default_path,
    find_sources,
    load_idle,
    measure,
    measure_idle,
    open_meter,
    read_conditions,
    store_idle,
)

NANO = Conditions('NVIDIA Jetson Nano Developer Kit', '0', '0-3', 'schedutil', 'free')
IDLE = Idle(
    1.25, 0.04, 30.01, 600, '2026-01-02T03:04:05Z', ('ina3221/POM_5V_IN',), {'total': 1.25}, NANO
)
CPU = 'sys/devices/system/cpu'


def nano_conditions(root):
    nano_tree(root)
    write(root / 'var/lib/nvpmodel', status='pmode:0000 fmode:quiet')
    write(root / CPU, online='0-3')
    policy = root / CPU / 'cpufreq/policy0'
    return write(
        policy, scaling_governor='schedutil', scaling_min_freq=102000, scaling_max_freq=1479000
    )


# Conditions.


def test_conditions_of_a_jetson_are_read(tmp_path):
    nano_conditions(tmp_path)
    assert read_conditions(str(tmp_path)) == NANO


def test_clocks_that_cannot_move_are_pinned(tmp_path):
    write(nano_conditions(tmp_path), scaling_min_freq=1479000)
    assert read_conditions(str(tmp_path)).clocks == 'pinned'
    write(tmp_path / 'sys/class/devfreq/57000000.gpu', min_freq=76800000, max_freq=921600000)
    assert read_conditions(str(tmp_path)).clocks == 'free'


def test_what_cannot_be_read_is_empty(tmp_path):
    conditions = read_conditions(str(tmp_path))
    assert conditions[1:] == ('', '', '', '') and conditions.machine == os.uname().machine


def test_nonsense_for_a_power_mode_is_none(tmp_path):
    write(tmp_path / 'var/lib/nvpmodel', status='pmode:max')
    assert read_conditions(str(tmp_path)).nvpmodel == ''


# What is kept.


def test_stored_idle_power_is_loaded_as_it_was(tmp_path):
    path = str(tmp_path / 'a/b/idle.json')
    store_idle(IDLE, path)
    assert load_idle(path) == IDLE
    assert os.listdir(str(tmp_path / 'a/b')) == ['idle.json']


def test_idle_power_is_kept_where_xdg_wants_state(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    assert default_path() == str(tmp_path / 'cs3d/idle.json')
    monkeypatch.delenv('XDG_STATE_HOME')
    monkeypatch.setenv('HOME', '/home/robot')
    assert default_path() == '/home/robot/.local/state/cs3d/idle.json'


def test_missing_idle_power_tells_the_cure(tmp_path):
    path = str(tmp_path / 'idle.json')
    with pytest.raises(PowerError) as caught:
        load_idle(path)
    assert 'run cs3d power --idle 30 --idle-file {} while'.format(path) in str(caught.value)


def test_cure_may_be_pasted_into_a_shell(tmp_path):
    path = str(tmp_path / 'my idle.json')
    with pytest.raises(PowerError, match="--idle-file '{}' while".format(path)):
        load_idle(path)


def spoiled(**changes):
    values = json.loads(json.dumps(dict(IDLE._asdict(), conditions=dict(NANO._asdict()))))
    values.update(changes)
    return json.dumps(values)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '{',
        '[]',
        'null',
        '{}',
        spoiled(watts=None),
        spoiled(watts='many'),
        spoiled(watts=float('nan')),
        spoiled(watts=-1.0),
        spoiled(basis=5),
        spoiled(rails=[1]),
        spoiled(rails={'a': None}),
        spoiled(conditions=None),
        spoiled(readings='x'),
        '\x00' * 100,
    ],
)
def test_spoiled_idle_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / 'idle.json'
    path.write_text(text)
    with pytest.raises(PowerError) as caught:
        load_idle(str(path))
    message = str(caught.value)
    assert str(path) in message and '--idle 30' in message and '\n' not in message


def test_idle_file_that_is_no_text_is_one_clear_error(tmp_path):
    (tmp_path / 'idle.json').write_bytes(b'\xff\xfe')
    with pytest.raises(PowerError, match='no idle power that was stored'):
        load_idle(str(tmp_path / 'idle.json'))


def test_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(PowerError, match='cannot be written'):
        store_idle(IDLE, str(tmp_path / 'file/idle.json'))


# When it holds.


def test_idle_power_holds_for_its_own_conditions():
    assert IDLE.misfit(IDLE.basis, NANO) is None


@pytest.mark.parametrize(
    'field, value', [(field, 'other') for field in Conditions._fields] + [('nvpmodel', '')]
)
def test_idle_power_holds_for_no_other_condition(field, value):
    misfit = IDLE.misfit(IDLE.basis, NANO._replace(**{field: value}))
    assert field in misfit and repr(value) in misfit and 'cs3d power --idle 30' in misfit


def test_idle_power_holds_for_no_other_rails():
    misfit = IDLE.misfit(('rapl/package-0', 'rapl/package-1'), NANO)
    assert 'rapl/package-0 + rapl/package-1 now' in misfit


def test_energy_above_idle_is_the_integral_of_the_difference():
    window = PowerWindow(10.0, 12.0, {}, 9.0)
    assert IDLE.energy_above(window) == pytest.approx(9.0 - 2.0 * 1.25)
    assert IDLE.energy_above(window._replace(energy_j=None)) is None


# Measuring.


def test_measured_idle_power_keeps_what_it_was_measured_by(tmp_path):
    nano_conditions(tmp_path)
    idle = measure_idle(0.2, open_meter(str(tmp_path)), str(tmp_path), sample_s=0.02)
    assert idle.watts == pytest.approx(4.2) and idle.stddev == pytest.approx(0.0, abs=1e-6)
    assert idle.seconds == pytest.approx(0.2, abs=0.15) and idle.readings >= 2
    assert idle.basis == ('ina3221/POM_5V_IN',)
    assert idle.rails['ina3221/POM_5V_CPU'] == pytest.approx(1.5)
    assert idle.conditions == NANO
    assert abs(time.mktime(time.strptime(idle.date, '%Y-%m-%dT%H:%M:%SZ')) - time.time()) < 2e5


def test_idle_power_of_a_rail_that_vanished_is_refused(tmp_path):
    device = nano_tree(tmp_path)
    meter = open_meter(str(tmp_path))
    (device / 'in_power0_input').unlink()
    with pytest.raises(PowerError, match='ina3221/POM_5V_IN gives no reading'):
        measure_idle(0.05, meter, str(tmp_path))


def test_machine_without_a_meter_is_refused_with_the_cure(tmp_path):
    with pytest.raises(PowerError, match='INA226'):
        open_meter(str(tmp_path))


def test_joules_of_a_run_are_what_it_adds_to_idling():
    source = BusyMeter()

    def run():
        source.is_busy = True
        time.sleep(0.05)

    found = measure(run, seconds=0.6, meter=PowerMeter([source]))
    assert found.idle_w == pytest.approx(10.0) and found.busy_w == pytest.approx(30.0, rel=0.1)
    assert found.basis == ('fake/board',) and found.idle.basis == found.basis
    joules = (found.busy_w - found.idle_w) * found.seconds / found.runs
    assert found.joules == pytest.approx(joules)
    assert found.joules >= 0.05 * (found.busy_w - found.idle_w)


def test_stored_idle_power_is_taken_if_it_holds(tmp_path):
    nano_conditions(tmp_path)
    meter = PowerMeter(find_sources(str(tmp_path)))
    found = measure(lambda: time.sleep(0.01), 0.1, IDLE, meter, root=str(tmp_path))
    assert found.joules == pytest.approx((4.2 - 1.25) * found.seconds / found.runs)
    assert found.idle is IDLE


def test_stored_idle_power_of_another_machine_is_refused(tmp_path):
    orin_nano_tree(tmp_path)
    ran = []
    with pytest.raises(PowerError, match='ina3221/VDD_IN now'):
        measure(lambda: ran.append(1), 0.1, IDLE, root=str(tmp_path))
    assert ran == []
