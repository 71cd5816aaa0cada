"""Bundles in fp16 by ONNX Runtime, which rounds between operators as a GPU would; no GPU here."""

import json

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('onnx')
import onnx
from networks import SMALL_CLIP, SMALL_STREAM, frames_of, network_of, report_of
from onnx import TensorProto, numpy_helper

from benchmarks import precision
from cs3d_ros.inference import OnnxRuntimeEngine, read_bundle
from cs3d_ros.inference.bundle import METADATA_KEY
from training.export import ExportError, metadata_of, write_bundle
from training.graph import onnx_model
from training.half import halved, main, write_half
from training.operators import complaints
from training.quantize import quantized

NETWORKS = {
    'clip': ('cs3d', SMALL_CLIP),
    'stream': ('stream', SMALL_STREAM),
    'no cell': ('stream', {**SMALL_STREAM, 'cell': 0}),
    'c3d': ('c3d', {'width': 0.125, 'outputs': 8}),
}


@pytest.fixture(scope='module', params=NETWORKS)
def pair(request, tmp_path_factory):
    """A bundle in float32, and the path where its fp16 form is."""
    name, settings = NETWORKS[request.param]
    network = network_of(name, **settings)
    folder = tmp_path_factory.mktemp('bundles')
    exact, half = folder / 'exact.onnx', folder / 'half.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), exact)
    write_half(exact, half)
    return exact, half


def inputs_of(bundle, count):
    frames = (frames_of(np.random.default_rng(7), count).astype(np.float32) - 128) / 128
    return frames.reshape(-1, *bundle.input_shape)


def test_answers_differ_by_little_but_differ(pair):
    exact, half = (OnnxRuntimeEngine(str(path)) for path in pair)
    state = other = ()
    found = []
    for frames in inputs_of(exact.bundle, 32):
        answer, state = exact.run(frames, state)
        answer_half, other = half.run(frames, other)
        found.append(np.abs(answer - answer_half).max())
    assert 0 < max(found) < 0.01


def test_bundle_is_read_as_before_and_says_what_it_is(pair):
    before, after = (read_bundle(str(path)) for path in pair)
    assert after.training.pop('fp16').startswith('converted; ')
    others = tuple(operator for operator in after.operators if operator.kind != 'Cast')
    assert after._replace(path=before.path, operators=others) == before
    assert pair[1].stat().st_size < pair[0].stat().st_size


def types_of(model):
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def test_convolutions_are_in_fp16_and_the_head_is_not(pair):
    model = onnx.load(pair[1])
    types = types_of(model)
    kinds = {}
    for node in model.graph.node:
        kinds.setdefault(node.op_type, set()).add(types[node.output[0]])
    assert kinds['Conv'] == kinds['MaxPool'] == {TensorProto.FLOAT16}
    head = [name for name in ('Gemm', 'Softmax', 'Tanh', 'Abs') if name in kinds]
    assert {kind for name in head for kind in kinds[name]} == {TensorProto.FLOAT}
    assert complaints(model) == []


def test_each_tensor_is_cast_once(pair):
    casts = [node for node in onnx.load(pair[1]).graph.node if node.op_type == 'Cast']
    sources = [(node.input[0], node.attribute[0].i) for node in casts]
    assert casts
    assert len(set(sources)) == len(sources)


def test_held_cell_moves_by_steps_that_fp16_does_not_have(tmp_path):
    network = network_of('stream', **SMALL_STREAM)
    exact = tmp_path / 'exact.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), exact)
    write_half(exact, tmp_path / 'half.onnx')
    engine = OnnxRuntimeEngine(str(tmp_path / 'half.onnx'))
    state = list(engine.bundle.initial_state())
    held = np.linspace(0.5, 0.9, 16, dtype=np.float32).reshape(1, 16)
    state[-1] = held
    frame = np.zeros(engine.bundle.input_shape, np.float32)
    frame[..., 50, 50] = 0.02  # hardly any activity
    _, (*_, after) = engine.run(frame, tuple(state))
    moved = np.abs(after - held)
    assert (moved > 0).all()
    assert moved.max() < np.spacing(np.float16(0.5)) / 2  # would be lost


def test_weight_that_fp16_cannot_hold_is_refused():
    model = onnx_model(network_of('cs3d', **SMALL_CLIP))
    weight = next(w for w in model.graph.initializer if len(w.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 7e4, weight.name))
    with pytest.raises(ExportError, match=r'holds 7e\+04, and fp16 at most 65504'):
        halved(model)


def test_quantised_bundle_is_refused():
    model = onnx_model(network_of('cs3d', **SMALL_CLIP))
    model = quantized(model, [frames_of(np.random.default_rng(1), 16)], runs=1)
    with pytest.raises(ExportError, match='int8 already'):
        halved(model)


def test_bundle_that_answers_otherwise_is_refused_and_leaves_no_file(pair, tmp_path, monkeypatch):
    monkeypatch.setattr('training.half.difference', lambda *_: 0.03)
    with pytest.raises(ExportError, match='otherwise by 0.030, more than 0.02'):
        write_half(pair[0], tmp_path / 'half.onnx')
    assert list(tmp_path.iterdir()) == []


def test_command_writes_and_tells(pair, tmp_path, capsys):
    main([str(pair[0]), '-o', str(tmp_path / 'a.onnx')])
    assert ' from float32' in capsys.readouterr().out
    metadata = onnx.load(tmp_path / 'a.onnx').metadata_props
    assert [entry.key for entry in metadata] == [METADATA_KEY]
    assert 'fp16' in json.loads(metadata[0].value)['training']
    with pytest.raises(SystemExit, match='error: .*is not there'):
        main(['nowhere.onnx', '-o', str(tmp_path / 'b.onnx')])


def test_precision_is_measured_of_every_bundle_and_of_nothing_else():
    names = [read_bundle(str(path)).name for path in precision.shipped_bundles()]
    assert names == ['cs3d', 'cs3d_stream']
