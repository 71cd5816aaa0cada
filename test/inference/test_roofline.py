import pytest
from tiny_onnx import METADATA, write_tiny_bundle

from cs3d_ros.inference.bundle import BundleError, Operator, read_bundle
from cs3d_ros.inference.machines import MACHINES, Machine
from cs3d_ros.inference.roofline import counted_operators, predict

# 100 operations and 40 bytes a second, in values of 4 bytes, half a second for each operator
SLOW = Machine('slow', 100.0, 40.0, 4, 0.5, power_w=3.0)


@pytest.mark.parametrize(
    'operator, compute_s, memory_s',
    [
        (Operator('Conv', 500, 20), 10.0, 0.0),  # 1000 operations, 80 bytes: 10 s over 2 s
        (Operator('Conv', 50, 20), 0.0, 2.0),  # 100 operations, 80 bytes: 1 s under 2 s
        (Operator('Relu', 0, 30), 0.0, 3.0),
    ],
)
def test_operator_takes_the_longer_of_arithmetic_and_memory(operator, compute_s, memory_s):
    found = predict([operator], SLOW)
    assert (found.compute_s, found.memory_s, found.launch_s) == (compute_s, memory_s, 0.5)


def test_operators_run_one_after_the_other():
    found = predict([Operator('Conv', 500, 20), Operator('Relu', 0, 30)], SLOW)
    assert found.time_s == 10.0 + 3.0 + 2 * 0.5
    assert found.energy_j == 3.0 * found.time_s


def test_energy_of_a_machine_without_a_budget_is_not_made_up():
    assert predict([Operator('Relu', 0, 30)], SLOW._replace(power_w=None)).energy_j is None


def test_halves_are_moved_in_half_the_time():
    operators = [Operator('Relu', 0, 30)]
    assert predict(operators, SLOW._replace(value_bytes=2)).memory_s == 1.5


@pytest.mark.parametrize(
    'name, gflops, gb_per_s',
    [
        # as NVIDIA advertises them: GFLOP/s of dense fp16, GB/s
        ('nano', 472, 25.6),
        ('xavier-nx', 6759, 51.2),
        ('agx-xavier', 11280, 136.5),
        ('orin-nano', 10240, 68.0),
        ('orin-nx', 15040, 102.4),
        ('agx-orin', 42500, 204.8),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name, gflops, gb_per_s):
    machine = MACHINES[name]
    assert machine.flops / 1e9 == pytest.approx(gflops, rel=5e-3)
    assert machine.bytes_per_s / 1e9 == pytest.approx(gb_per_s, rel=5e-3)
    assert machine.value_bytes == 2


def test_mode_of_less_power_is_slower_and_takes_less():
    operators = [Operator('Conv', 10**9, 10**6)]
    full, saving = (predict(operators, MACHINES[name]) for name in ('nano', 'nano-5w'))
    assert full.time_s < saving.time_s
    assert saving.energy_j < full.energy_j


def test_bundle_without_counts_is_told_the_cure(tmp_path):
    bundle = read_bundle(write_tiny_bundle(tmp_path / 'old.onnx'))
    with pytest.raises(BundleError, match='old.onnx does not say .*training.stamp .*old.onnx'):
        counted_operators(bundle)


def test_bundle_gives_its_counts(tmp_path):
    metadata = dict(METADATA, operators=[['Conv', 5, 7], ['Relu', 0, 2]])
    bundle = read_bundle(write_tiny_bundle(tmp_path / 'a.onnx', metadata=metadata))
    assert counted_operators(bundle) == (Operator('Conv', 5, 7), Operator('Relu', 0, 2))
