import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('onnx')
import onnx
import onnxruntime
import torch
from networks import SMALL_CLIP, SMALL_STREAM, frames_of, network_of

from training.graph import ExportError, onnx_model
from training.models import LADDER
from training.operators import complaints
from training.quantize import feeds_of, quantized

W = 0.125
CLIPS = {
    **{
        step: (name, {'width': W, 'outputs': 8, **settings})
        for step, (name, settings) in LADDER.items()
        if name != 'stream'
    },
    'c3d': ('c3d', {'width': W, 'outputs': 8}),
    'shipped': ('cs3d', SMALL_CLIP),
    'pooled': ('cs3d', {'width': W, 'head': 'gap'}),
    'learnt thresholds': ('cs3d', {'width': W, 'head': 'gap', 'learn_theta': True}),
    'rate normalised': ('cs3d', {**SMALL_CLIP, 'rate_norm': True}),
    'odd frames': ('cs3d', {**SMALL_CLIP, 'frames': 17}),
    'odd frames later': ('c3d', {'width': W, 'frames': 24}),
    'dense with attention': ('cs3d', {'width': W, 'factorised': False, 'head': 'gap'}),
}
STREAMS = {
    'stream': SMALL_STREAM,
    'no cell, no attention': {'width': W, 'cell': 0, 'attention': False, 'theta': 0.25},
    "paper's stem, ReLU": {'width': W, 'stem_filters': 1, 'stem_stride': 1, 'ssn': False},
    'head for training only': {'width': W, 'cell': 8, 'transitions': 8},
}


def network_called(name):
    if name in CLIPS:
        kind, settings = CLIPS[name]
        return network_of(kind, **settings)
    return network_of('stream', **STREAMS[name])


def session_of(model):
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )


def inputs_of(seed, count):
    return (frames_of(np.random.default_rng(seed), count).astype(np.float32) - 128) / 128


@pytest.mark.parametrize('name', CLIPS)
def test_graph_of_every_clip_network_answers_as_torch_does(name):
    network = network_called(name)
    session = session_of(onnx_model(network, temperature=0.8))
    apart = []
    for seed in range(5):
        clip = inputs_of(seed, network.settings.frames)[None, None]
        with torch.inference_mode():
            expected = torch.softmax(network(torch.from_numpy(clip)) / 0.8, 1).numpy()
        apart.append(np.abs(session.run(None, {'clip': clip})[0] - expected).max())
    assert np.median(apart) < 1e-5, apart
    # rounding alone may tip a neuron that stands at its threshold, though hardly ever
    s = network.settings
    jumps = getattr(s, 'ssn', False) and s.theta > 0
    assert max(apart) < (0.01 if jumps else 1e-5), apart


@pytest.mark.parametrize('name', STREAMS)
def test_graph_of_every_stream_answers_every_frame_as_torch_does(name):
    network = network_called(name)
    session = session_of(onnx_model(network, temperature=0.8))
    frames = inputs_of(3, 24)
    frames[8:12] = 0.0
    with torch.inference_mode():
        logits = network(torch.from_numpy(frames)[None, None])[0]
    state = [past.numpy() for past in network.initial_state()]
    names = [tensor.name for tensor in session.get_inputs()]
    assert names == ['frame', *network.state_names]
    for frame, expected in zip(frames, torch.softmax(logits / 0.8, 1).numpy()):
        answer, *state = session.run(None, dict(zip(names, [frame[None, None], *state])))
        np.testing.assert_allclose(answer[0], expected, atol=1e-5)


@pytest.mark.parametrize('name', [*CLIPS, *STREAMS])
def test_graph_has_only_operators_of_tensorrt_8_2(name):
    model = onnx_model(network_called(name))
    assert complaints(model) == []
    assert [(o.domain, o.version) for o in model.opset_import] == [('', 13)]
    assert model.ir_version <= 8


@pytest.mark.parametrize('name', ['shipped', 'stream'])
def test_graph_has_no_view_of_a_view_and_none_that_changes_nothing(name):
    model = onnx.shape_inference.infer_shapes(onnx_model(network_called(name)), strict_mode=True)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.value_info, *model.graph.input]
    }
    views = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == 'Reshape'
    }
    assert len(views) > 10
    assert not set(views) & set(views.values())
    assert [view for view, source in views.items() if shapes[view] == shapes[source]] == []
    read = {name for node in model.graph.node for name in node.input}
    assert {weight.name for weight in model.graph.initializer} <= read


@pytest.mark.parametrize('name', ['shipped', 'pooled', 'stream'])
def test_graph_has_2d_convolutions_and_static_shapes_only(name):
    model = onnx.shape_inference.infer_shapes(onnx_model(network_called(name)), strict_mode=True)
    kernels = [
        len(a.ints)
        for node in model.graph.node
        for a in node.attribute
        if a.name == 'kernel_shape'
    ]
    assert set(kernels) == {2}
    dims = [
        dim
        for value in list(model.graph.value_info) + list(model.graph.output)
        for dim in value.type.tensor_type.shape.dim
    ]
    assert all(dim.HasField('dim_value') for dim in dims)


def test_weights_of_convolutions_stand_in_the_graph():
    model = onnx_model(network_called('stream'))
    weights = {weight.name for weight in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == 'Conv']
    assert all(set(node.input[1:]) <= weights for node in convolutions)


def thresholds(name):
    return [
        a.f
        for node in onnx_model(network_called(name)).graph.node
        for a in node.attribute
        if a.name == 'alpha'
    ]


def test_neurons_have_the_thresholds_of_torch():
    assert set(thresholds('pooled')) == {0.25}
    assert thresholds('shipped') == []  # a threshold of 0 is ReLU
    network = network_of('cs3d', width=W, head='gap', learn_theta=True)
    learnt = [m.theta for m in network.modules() if hasattr(m, 'raw_theta')]
    with torch.no_grad():
        for k, parameter in enumerate(p for n, p in network.named_parameters() if 'theta' in n):
            parameter.fill_(0.1 * (k + 1))
    alphas = [
        a.f for node in onnx_model(network).graph.node for a in node.attribute if a.name == 'alpha'
    ]
    assert alphas == pytest.approx([0.1 * (k + 1) for k in range(len(learnt))])


def test_other_networks_are_refused_by_name():
    with pytest.raises(ExportError, match="'r2plus1d': c3d, cs3d and stream become bundles"):
        stranger = torch.nn.Linear(1, 1)
        stranger.name = 'r2plus1d'
        onnx_model(stranger)


@pytest.fixture(scope='module', params=['shipped', 'stream'])
def int8(request):
    """A float model and its int8 form, and the frames that it was calibrated on."""
    model = onnx_model(network_called(request.param))
    sequences = [frames_of(np.random.default_rng(seed), 32) for seed in (5, 6)]
    return model, quantized(model, sequences, runs=12), sequences


def test_int8_is_what_tensorrt_8_2_takes(int8):
    _, model, _ = int8
    assert complaints(model) == []
    assert [(o.domain, o.version) for o in model.opset_import] == [('', 13)]
    assert 'DequantizeLinear' in {node.op_type for node in model.graph.node}


def test_int8_weights_of_convolutions_have_a_scale_per_channel(int8):
    _, model, _ = int8
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    scales = [
        weights[node.input[1]].size == weights[node.input[0]].shape[0]
        for node in model.graph.node
        if node.op_type == 'DequantizeLinear'
        and node.input[0] in weights
        and weights[node.input[0]].dtype == np.int8
        and weights[node.input[0]].ndim == 4
    ]
    assert len(scales) >= 8
    assert all(scales)


def test_int8_is_much_smaller_and_answers_nearly_the_same(int8):
    exact, model, sequences = int8
    assert model.ByteSize() < exact.ByteSize()
    sessions = [session_of(exact), session_of(model)]
    names = [tensor.name for tensor in sessions[0].get_inputs()]
    if names == ['clip']:
        clip = ((sequences[0][:16].astype(np.float32) - 128) / 128)[None, None]
        answers = [session.run(None, {'clip': clip})[0] for session in sessions]
    else:
        answers = []
        for session in sessions:
            state = [np.zeros(t.shape, np.float32) for t in session.get_inputs()[1:]]
            for frame in (sequences[0].astype(np.float32) - 128) / 128:
                answer, *state = session.run(None, dict(zip(names, [frame[None, None], *state])))
            answers.append(answer)
    np.testing.assert_allclose(*answers, atol=0.05)
    assert not np.array_equal(*answers)


def calibrated_on(name, lengths, runs):
    """Return how often each sequence is calibrated on; its number is the grey of its frames."""
    sequences = [np.full((n, 112, 112), number, np.uint8) for number, n in enumerate(lengths)]
    feeds = feeds_of(onnx_model(network_called(name)), sequences, runs)
    greys = [next(iter(feed.values())).mean() * 128 + 128 for feed in feeds]
    return np.bincount(np.rint(greys).astype(int), minlength=len(lengths)).tolist()


@pytest.mark.parametrize(
    'name, lengths, runs, counts',
    [
        ('shipped', [40] * 9, 27, [3] * 9),  # of 4 clips each
        ('stream', [40] * 9, 27, [3] * 9),
        ('shipped', [16, 9, 40], 99, [1, 0, 4]),
        ('stream', [16, 0, 40], 99, [16, 0, 40]),
        ('stream', [4] * 6, 3, [1, 0, 1, 0, 1, 0]),
    ],
)
def test_calibration_sees_all_sequences_alike(name, lengths, runs, counts):
    assert calibrated_on(name, lengths, runs) == counts


@pytest.mark.parametrize(
    'lengths, name, words',
    [
        ([], 'shipped', 'of 16 or more frames, the longest of 0 has 0: give longer ones'),
        ([15, 9], 'shipped', 'of 16 or more frames, the longest of 2 has 15: .* without --int8'),
        ([], 'stream', 'of 1 or more frames, the longest of 0 has 0: give longer ones'),
        ([0], 'stream', 'of 1 or more frames, the longest of 1 has 0: give longer ones'),
    ],
)
def test_nothing_to_calibrate_on_is_told(lengths, name, words):
    sequences = [np.full((length, 112, 112), 128, np.uint8) for length in lengths]
    with pytest.raises(ExportError, match=words):
        quantized(onnx_model(network_called(name)), sequences)


def test_quantising_leaves_the_float_model_alone():
    model = onnx_model(network_called('shipped'))
    before = model.SerializeToString()
    quantized(model, [frames_of(np.random.default_rng(1), 16)], runs=1)
    assert model.SerializeToString() == before
