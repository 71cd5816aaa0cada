"""Windows over the readings: statistics, what TOTAL is made of, energy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from power_trees import (
    Clock,
    agx_tree,
    chip,
    nano_tree,
    rapl_zone,
    supply,
    write,
)

from cs3d_ros.power import TOTAL, PowerMeter, PowerSource, RaplSource, find_sources, measure_while


class Scripted(PowerSource):
    """A source that answers one reading after the other; the first is the meter's own."""

    name = 'fake'

    def __init__(self, *readings):
        super().__init__(('a', 'b'))
        self._readings = [readings[0]] + list(readings)

    def read(self, now_s):
        return self._readings.pop(0)


class Function(PowerSource):
    """A source whose power is a function of time."""

    name = 'fake'

    def __init__(self, watts_at):
        super().__init__(('a',))
        self._watts_at = watts_at

    def read(self, now_s):
        return {'a': self._watts_at(now_s)}


def sample(meter, clock, *steps_s):
    for step_s in steps_s:
        clock.now_s += step_s
        meter.sample()


def test_meter_gives_statistics_per_rail_and_total():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 2.0}, {'a': 3.0, 'b': 2.0})], clock)
    sample(meter, clock, 0.5, 0.5)
    window = meter.take()
    assert window.rails['fake/a'] == (2.0, 1.0, 3.0, 1.0, 2)
    assert window.rails[TOTAL] == (4.0, 3.0, 5.0, 1.0, 2)


def test_reading_counts_for_the_time_since_the_one_before():
    # 1 W for 0.3 s, then 5 W for 0.1 s: 2 W on average, variance 0.75 * 1 + 0.25 * 9 = 3
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 0.0}, {'a': 5.0, 'b': 0.0})], clock)
    sample(meter, clock, 0.3, 0.1)
    statistics = meter.take().rails['fake/a']
    assert statistics.average == pytest.approx(2.0)
    assert statistics.stddev == pytest.approx(3.0**0.5)


def test_energy_is_power_times_time():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 1.0}, {'a': 3.0, 'b': 1.0})], clock)
    sample(meter, clock, 0.5, 0.5)
    assert meter.take().energy_j == pytest.approx(3.0)


def test_second_window_begins_where_the_first_ended():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 1.0})], clock)
    sample(meter, clock, 1.0)
    first, second = meter.take(), meter.take()
    assert (second.start_s, second.rails, second.energy_j) == (first.stop_s, {}, None)


def test_readings_within_a_step_of_the_kernels_counters_are_one():
    clock = Clock()
    meter = PowerMeter([Function(lambda t: 1.0)], clock)
    sample(meter, clock, 0.05, 0.001, 0.002, 0.05)
    assert meter.take().rails[TOTAL].count == 2


def test_reading_that_is_missed_once_is_bridged():
    clock = Clock()
    good, bad = {'a': 1.0, 'b': 1.0}, {'a': 1.0}
    meter = PowerMeter([Scripted(good, bad, good)], clock)
    sample(meter, clock, 0.1, 0.1, 0.1)
    window = meter.take()
    assert window.rails[TOTAL].count == 2 and window.energy_j == pytest.approx(0.6)


def test_reading_that_is_missed_for_long_leaves_the_energy_unknown():
    clock = Clock()
    good, bad = {'a': 1.0, 'b': 1.0}, {'a': 1.0}
    meter = PowerMeter([Scripted(good, *([bad] * 11 + [good, good]))], clock)
    sample(meter, clock, *([0.1] * 13))
    window = meter.take()
    assert window.energy_j is None and window.rails['fake/a'].count == 13
    sample(meter, clock, 0.1)
    assert meter.take().energy_j == pytest.approx(0.2)


def test_window_pays_for_no_time_before_it():
    # a gap lies over the border: what it took before is none of the second window's
    clock = Clock()
    good, bad = {'a': 2.0, 'b': 0.0}, {'a': 2.0}
    meter = PowerMeter([Scripted(good, bad, good)], clock)
    sample(meter, clock, 0.1, 0.5)
    meter.take()
    sample(meter, clock, 0.1)
    assert meter.take().energy_j == pytest.approx(0.2)


def test_window_that_ends_without_a_total_has_no_energy():
    clock = Clock()
    meter = PowerMeter([Scripted({'a': 1.0, 'b': 1.0}, {'a': 1.0})], clock)
    sample(meter, clock, 0.1, 0.1)
    assert meter.take().energy_j is None


def test_meter_without_sources_measures_nothing():
    meter = PowerMeter([PowerSource(problem='no permission')])
    meter.sample()
    window = meter.take()
    assert not meter.is_measuring and meter.basis == ()
    assert window.rails == {} and window.energy_j is None


def test_rail_that_vanishes_is_complained_of_with_the_count(tmp_path):
    clock = Clock()
    device = nano_tree(tmp_path)
    meter = PowerMeter(find_sources(str(tmp_path)), clock)
    assert meter.complaints() == []
    (device / 'in_power0_input').unlink()
    sample(meter, clock, 0.1, 0.1)
    (complaint,) = meter.complaints()
    assert complaint.startswith('ina3221/POM_5V_IN gives no reading: ')
    assert meter.refused() == {'ina3221/POM_5V_IN': 2}
    window = meter.take()
    assert sorted(window.rails) == ['ina3221/POM_5V_CPU', 'ina3221/POM_5V_GPU']


# What TOTAL is made of.


def basis_of(root):
    return PowerMeter(find_sources(str(root))).basis


def test_input_rail_stands_for_all_parts(tmp_path):
    nano_tree(tmp_path)
    chip(tmp_path, 7, 'ina226', power1_input=9000000)
    supply(tmp_path, 'BAT0', type='Battery', status='Discharging', power_now=6000000)
    assert basis_of(tmp_path) == ('ina3221/POM_5V_IN',)


def test_battery_that_discharges_stands_for_the_parts(tmp_path):
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    supply(tmp_path, 'BAT0', type='Battery', status='Discharging', power_now=6000000)
    assert basis_of(tmp_path) == ('supply/BAT0',)


def test_battery_that_charges_leaves_it_to_the_parts(tmp_path):
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    chip(tmp_path, 0, 'amdgpu', power1_average=1000000)
    battery = supply(tmp_path, 'BAT0', type='Battery', status='Charging', power_now=6000000)
    clock = Clock()
    meter = PowerMeter(find_sources(str(tmp_path)), clock)
    assert meter.basis == ('rapl/package-0', 'amdgpu/amdgpu')
    write(battery, status='Discharging')
    sample(meter, clock, 0.1)
    # the battery shows as a rail, and TOTAL keeps its meaning
    assert meter.take().rails[TOTAL].average == pytest.approx(1.0)


def test_battery_alone_has_no_total_while_it_charges(tmp_path):
    battery = supply(tmp_path, 'BAT0', type='Battery', status='Charging', power_now=6000000)
    clock = Clock()
    meter = PowerMeter(find_sources(str(tmp_path)), clock)
    sample(meter, clock, 0.1)
    assert TOTAL not in meter.take().rails
    assert 'BAT0 is charging' in meter.complaints()[0]
    write(battery, status='Discharging')
    sample(meter, clock, 0.1)
    assert meter.take().rails[TOTAL].average == pytest.approx(6.0)
    assert meter.complaints() == []


def test_rails_of_a_board_are_not_added_to_its_processor(tmp_path):
    agx_tree(tmp_path)
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    assert basis_of(tmp_path) == ('ina3221/VDD_GPU_SOC', 'ina3221/VIN_SYS_5V0')


def test_wired_chip_makes_the_total_only_where_nothing_else_does(tmp_path):
    chip(tmp_path, 0, 'ina226', power1_input=9000000)
    assert basis_of(tmp_path) == ('ina2xx/ina226',)
    rapl_zone(tmp_path, 'intel-rapl:0', 'package-0', 0)
    assert basis_of(tmp_path) == ('rapl/package-0',)


# Energy as a property.

# ticks and W; a step of 128 ticks is 1 s, as long as a reading may be missing
STEPS = st.lists(st.tuples(st.integers(1, 128), st.floats(0.0, 500.0)), min_size=1, max_size=30)
TICK_S = 0.0078125  # a binary fraction: sums of ticks are exact


@given(STEPS, st.data())
def test_energy_of_piecewise_constant_power_is_exact_whatever_the_sampling(steps, data):
    """Readings at every change, and at any times in between, make the same energy."""
    clock = Clock()
    watts = steps[0][1]
    meter = PowerMeter([Function(lambda t: watts)], clock)
    for ticks, watts in steps:  # noqa: B007
        cuts = data.draw(st.lists(st.integers(0, ticks - 1), unique=True, max_size=5)) + [ticks]
        done = 0
        for cut in sorted(set(cuts) - {0}):
            sample(meter, clock, (cut - done) * TICK_S)
            done = cut
    window = meter.take()
    expected = sum(ticks * TICK_S * power for ticks, power in steps)
    assert window.energy_j == pytest.approx(expected, rel=1e-9, abs=1e-12)
    average = window.rails[TOTAL].average
    assert average * window.seconds == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(
    st.integers(0, 262143328850),
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 500)), min_size=1, max_size=30),
)
def test_energy_of_a_counter_is_what_it_counted_whatever_the_sampling(
    tmp_path_factory, start, steps
):
    """Wraps and uneven readings lose no microjoule."""
    clock = Clock()
    zone = rapl_zone(tmp_path_factory.getbasetemp(), 'intel-rapl:0', 'package-0', start)
    meter = PowerMeter([RaplSource({'package-0': str(zone)})], clock)
    counted_uj = 0
    for ticks, watts in steps:
        counted_uj += round(ticks * TICK_S * watts * 1e6)
        write(zone, energy_uj=(start + counted_uj) % 262143328850)
        sample(meter, clock, ticks * TICK_S)
    assert meter.take().energy_j == pytest.approx(counted_uj * 1e-6, rel=1e-9, abs=1e-9)


# The window of some work.


def test_window_is_that_of_the_work():
    clock = Clock()
    power = {'watts': 10.0}
    meter = PowerMeter([Function(lambda t: power['watts'])], clock)
    clock.now_s += 5.0

    def work():
        power['watts'] = 30.0
        clock.now_s += 0.5
        meter.sample()
        clock.now_s += 0.5
        return 'done'

    result, window = measure_while(work, meter, sample_s=60.0)
    assert result == 'done'
    assert (window.seconds, window.energy_j) == (1.0, pytest.approx(30.0))


def test_reader_ends_with_work_that_fails():
    import threading

    before = threading.active_count()
    with pytest.raises(KeyError):
        measure_while(lambda: {}['a'], PowerMeter([]))
    assert threading.active_count() == before
