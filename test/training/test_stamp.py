import json

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
import onnx
from networks import SMALL_CLIP, SMALL_STREAM, frames_of, network_of, report_of
from onnx import TensorProto, helper, numpy_helper

from cs3d_ros.inference import SHIPPED_BUNDLE, BundleError, open_engine, read_bundle
from cs3d_ros.inference.bundle import METADATA_KEY
from training.export import metadata_of, write_bundle
from training.graph import onnx_model
from training.models import build
from training.models.counter import count
from training.quantize import quantized
from training.stamp import main, operators_of, stamp, write_metadata

SHIPPED = [SHIPPED_BUNDLE, SHIPPED_BUNDLE.replace('cs3d.onnx', 'cs3d_stream.onnx')]


def model_of(nodes, weights, shape, answer):
    """Return a model of nodes given as (kind, inputs, outputs, attributes), from x to y."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, i, o, **attributes) for kind, i, o, attributes in nodes],
            'g',
            [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info('y', TensorProto.FLOAT, answer)],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid('', 13)],
        ir_version=7,
    )


def test_operators_cost_what_a_hand_counts():
    nodes = [
        ('Conv', ['x', 'w', 'b'], ['c'], {'group': 2, 'pads': (1, 1, 1, 1), 'strides': (2, 2)}),
        ('Relu', ['c'], ['r'], {}),
        ('Slice', ['r', 'zero', 'one', 'axis'], ['s'], {}),
        ('Mul', ['r', 's'], ['m'], {}),
        ('Reshape', ['m', 'flat'], ['f'], {}),
        ('Gemm', ['f', 'g', 'h'], ['y'], {'transB': 1}),
    ]
    weights = {
        'w': np.zeros((6, 2, 3, 3), np.float32),
        'b': np.zeros(6, np.float32),
        'zero': np.int64([0]),
        'one': np.int64([1]),
        'axis': np.int64([1]),
        'flat': np.int64([1, 120]),
        'g': np.zeros((7, 120), np.float32),
        'h': np.zeros(7, np.float32),
    }

    found = operators_of(model_of(nodes, weights, [1, 4, 8, 10], [1, 7]))

    assert found == [
        # 6 x 4 x 5 put out, each of 2 x 9 products; 320 read, 108 weights, 6 biases
        ('Conv', 120 * 18, 120 + 320 + 108 + 6),
        ('Relu', 0, 240),
        ('Slice', 0, 40),
        ('Mul', 0, 120 + 120 + 20),
        ('Gemm', 7 * 120, 7 + 120 + 840 + 7),
    ]


@pytest.mark.parametrize(
    'name, settings', [('c3d', {'width': 0.125}), ('stream', SMALL_STREAM)], ids=['c3d', 'stream']
)
def test_graph_and_network_have_the_same_multiply_adds(name, settings):
    network = build(name, **settings)
    counted = sum(macs for _, macs, _ in operators_of(onnx_model(network)))
    assert counted == pytest.approx(count(network).macs, rel=2e-3)  # pooled points save a little


def test_int8_computes_as_much_as_float():
    model = onnx_model(build('cs3d', **SMALL_CLIP).eval())
    frames = [frames_of(np.random.default_rng(1), 32)]
    int8 = quantized(model, frames, runs=2)  # in another order
    assert sorted(operators_of(int8)) == sorted(operators_of(model))


@pytest.fixture
def bundle(tmp_path):
    """Return the path of a bundle that was written before there were counts."""
    network, path = network_of('stream', **SMALL_STREAM), tmp_path / 'old.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), path)
    model = onnx.load(path)
    metadata = parted(model)[1]
    assert metadata.pop('operators')
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata))
    path.write_bytes(model.SerializeToString())
    return path


def parted(model):
    """Return the bytes of a model without our metadata, and the metadata."""
    metadata = next(e.value for e in model.metadata_props if e.key == METADATA_KEY)
    del model.metadata_props[:]
    return model.SerializeToString(deterministic=True), json.loads(metadata)


def test_exporter_counts_what_it_writes(tmp_path):
    network, path = network_of('cs3d', **SMALL_CLIP), tmp_path / 'new.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), path)
    assert list(read_bundle(path).operators) == operators_of(onnx.load(path))


def test_stamp_changes_nothing_but_the_counts(bundle):
    before, metadata = parted(onnx.load(bundle))
    stamp(bundle)
    after, found = parted(onnx.load(bundle))
    assert found.pop('operators')
    assert (after, found) == (before, metadata)


def test_stamped_bundle_answers_the_same(bundle):
    frame = np.random.default_rng(2).normal(size=(1, 1, 112, 112)).astype(np.float32)
    before = open_engine(bundle, threads=1).run(frame)
    stamp(bundle)
    after = open_engine(bundle, threads=1).run(frame)
    np.testing.assert_array_equal(before[0], after[0])


def test_command_tells_what_it_counted(bundle, capsys):
    main([str(bundle)])
    assert 'old.onnx: ' in capsys.readouterr().out
    assert read_bundle(bundle).operators


def test_file_that_is_no_bundle_is_left_alone(tmp_path):
    path = tmp_path / 'other.onnx'
    model = onnx_model(build('cs3d', **SMALL_CLIP).eval())
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match='no bundle'):
        stamp(path)
    with pytest.raises(SystemExit, match='error: .*no bundle'):
        main([str(path)])
    assert path.read_bytes() == model.SerializeToString()


@pytest.mark.parametrize('path', SHIPPED)
def test_shipped_bundles_carry_the_counts_of_their_graphs(path):
    assert list(read_bundle(path).operators) == operators_of(onnx.load(path))


def test_metadata_of_others_is_kept():
    model = onnx_model(build('cs3d', **SMALL_CLIP).eval())
    model.metadata_props.add(key='author', value='someone')
    write_metadata(model, {'name': 'x'})
    assert {entry.key for entry in model.metadata_props} == {'author', METADATA_KEY}
