"""What TensorRT 8.2 takes, by its list of operators; nothing of this has run in TensorRT."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx')
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from cs3d_ros.inference import SHIPPED_BUNDLE
from training.operators import complaints, counted, main
from training.views import without_idle_views

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'training.md'
BUNDLES = sorted(Path(SHIPPED_BUNDLE).parent.glob('cs3d*.onnx'))
SMALL = (1, 1, 4, 4)


def model_of(*nodes, weights=(), opset=13, shape=SMALL, kind=TensorProto.FLOAT):
    """Return a model from `x` to `y`."""
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights]
    ends = [helper.make_tensor_value_info(name, kind, shape) for name in 'xy']
    graph = helper.make_graph(list(nodes), 'g', ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)])


def node(kind, *inputs, output='y', **attributes):
    return helper.make_node(kind, list(inputs) or ['x'], [output], 'n', **attributes)


def bounds(**values):
    return [(name, np.int64([value])) for name, value in values.items()]


@pytest.mark.parametrize('path', BUNDLES, ids=[path.name for path in BUNDLES])
def test_shipped_bundle_is_what_tensorrt_8_2_takes(path):
    assert complaints(onnx.load(path)) == []


KERNEL = ('w', np.ones((1, 1, 1, 1), np.float32))
ONE = ('one', np.float32(1))


@pytest.mark.parametrize(
    'model, words',
    [
        (model_of(node('Relu'), opset=14), "opset 14 of '': it reads up to 13"),
        (model_of(node('Celu')), 'Celu n: is not among its operators'),
        (
            model_of(
                node('Conv', 'x', 'w', kernel_shape=(1,)),
                weights=[('w', np.ones((1, 1, 1), np.float32))],
                shape=(1, 1, 4),
            ),
            'Conv n: has a kernel of 1 dimensions',
        ),
        (
            model_of(node('Relu', 'w', output='v'), node('Conv', 'x', 'v'), weights=[KERNEL]),
            'Conv n: has weights that are computed',
        ),
        (
            model_of(
                node('Add', 'b', 'b', output='first'),
                node('Slice', 'x', 'first', 'e', 'a'),
                weights=bounds(b=0, e=4, a=3),
            ),
            'Slice n: has bounds that are computed',
        ),
        (
            model_of(
                node('QuantizeLinear', 'x', 'one', 'zero', output='q'),
                node('DequantizeLinear', 'q', 'one', 'zero'),
                weights=[ONE, ('zero', np.int8(3))],
            ),
            'QuantizeLinear n: has another zero point than 0',
        ),
        (model_of(node('Relu'), shape=(1, 1, 'n', 4)), 'x: of no fixed shape'),
        (model_of(node('Abs'), kind=TensorProto.DOUBLE), 'x: of type DOUBLE'),
    ],
)
def test_what_tensorrt_8_2_would_not_take_is_named(model, words):
    found = complaints(model)
    assert any(line.startswith(words) for line in found), found


def test_quantised_weights_are_constant():
    model = model_of(
        node('DequantizeLinear', 'w', 'one', 'zero', output='v'),
        node('Conv', 'x', 'v'),
        weights=[('w', np.ones((1, 1, 1, 1), np.int8)), ONE, ('zero', np.int8(0))],
    )
    assert complaints(model) == []


def test_command_counts_and_complains(tmp_path, capsys):
    good, bad = tmp_path / 'good.onnx', tmp_path / 'bad.onnx'
    shape = ('shape', np.int64(SMALL))
    onnx.save(
        model_of(node('Reshape', 'x', 'shape', output='v'), node('Relu', 'v'), weights=[shape]),
        good,
    )
    onnx.save(model_of(node('Celu')), bad)
    with pytest.raises(SystemExit) as ended:
        main([str(good)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert '| good.onnx | 2 | 1 | 1 Relu |' in said
    assert 'TensorRT 8.2 takes all of them' in said
    with pytest.raises(SystemExit) as ended:
        main([str(good), str(bad)])
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        'bad.onnx: Celu n: is not among its operators'
    )


def test_command_of_the_docs_prints_their_table(capsys):
    command, table = re.search(
        r'`python -m training.operators (cs3d_ros\S+)`.*?\n.*?\n(.*?)\n\n', DOCS.read_text(), re.S
    ).groups()
    with pytest.raises(SystemExit) as ended:
        main([str(path) for path in sorted(DOCS.parents[1].glob(command))])
    assert ended.value.code == 0
    rows = [row.split(' | ')[:3] for row in capsys.readouterr().out.splitlines()[2:-1]]
    shown = [re.sub('`|, a \\w+|\\|$', '', row).strip().split(' | ') for row in table.splitlines()]
    assert [row[:3] for row in shown] == rows


@pytest.mark.parametrize('content', [None, b'', b'no network at all'])
def test_file_without_a_network_is_told_in_a_line(content, tmp_path):
    path = tmp_path / 'a.onnx'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        SystemExit, match=r'^error: .*a\.onnx holds no network.*: export or copy it'
    ):
        main([str(path)])


def test_help_comes_without_a_table(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    assert capsys.readouterr().out.startswith('usage: python -m training.operators')


@pytest.mark.parametrize('path', BUNDLES, ids=[path.name for path in BUNDLES])
def test_network_without_idle_views_answers_bit_by_bit_the_same(path):
    before = onnx.load(path)
    after = without_idle_views(before)
    onnx.checker.check_model(after, full_check=True)
    sessions = [
        InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
        for model in (before, after)
    ]
    rng = np.random.default_rng(1)
    feed = {
        tensor.name: rng.normal(size=tensor.shape).astype(np.float32)
        for tensor in sessions[0].get_inputs()
    }
    for one, other in zip(*(session.run(None, feed) for session in sessions)):
        np.testing.assert_array_equal(one, other)
    others = [{k: n for k, n in counted(m).items() if k != 'Reshape'} for m in (before, after)]
    assert others[0] == others[1]


def test_view_that_is_an_output_stays():
    shape = ('shape', np.int64(SMALL))
    model = model_of(
        node('Reshape', 'x', 'shape', output='v'), node('Reshape', 'v', 'shape'), weights=[shape]
    )
    after = without_idle_views(model)
    assert [[*n.input, *n.output] for n in after.graph.node] == [['x', 'shape', 'y']]
