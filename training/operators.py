"""Whether TensorRT 8.2 takes a bundle, and of how many operators: python -m training.operators.

That of a Jetson Nano is the oldest that runs bundles; what it takes, later ones take, too.
"""

import argparse
from collections import Counter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from cs3d_ros.inference import BundleError

OPSET = 13  # newest that TensorRT 8.2 reads
# Of the operators that it takes, those that graphs are made of, quantised ones included.
# Source: operator matrix of onnx-tensorrt, docs/operators.md at tag 8.2-GA; `complaints` holds its
# restrictions on them.
TENSORRT_8_2 = frozenset(
    """
    Abs Add Cast Concat Conv DequantizeLinear Div Gemm Max MaxPool Mul Neg QuantizeLinear ReduceMax
    ReduceMean Relu Reshape Sigmoid Slice Softmax Sub Tanh ThresholdedRelu Transpose
    """.split()
)
TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.INT32,
    TensorProto.INT64,  # of shapes and bounds, cast down to 32 bits
}
VIEWS = {'Reshape'}  # no work: the same numbers in other dimensions


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model of a file, bundle or not; BundleError if it holds none."""
    try:
        model, fault = onnx.load(path), 'it is empty'
    except (OSError, DecodeError) as error:
        model, fault = onnx.ModelProto(), error
    if not model.graph.node:
        raise BundleError('{} holds no network ({}): export or copy it again'.format(path, fault))
    return model


def complaints(model: onnx.ModelProto) -> list[str]:
    """
    Return why TensorRT 8.2 would not take a model, a line for each reason; none if it would.

    Raises
    ------
    onnx.shape_inference.InferenceError
        If shapes contradict each other.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    weights = {weight.name: weight for weight in graph.initializer}
    constant = set(weights) | {
        node.output[0]
        for node in graph.node
        if node.op_type == 'DequantizeLinear' and node.input[0] in weights
    }
    found = [
        'opset {} of {!r}: it reads up to {} of ONNX'.format(o.version, o.domain, OPSET)
        for o in model.opset_import
        if o.domain or o.version > OPSET
    ]
    for node in graph.node:
        reasons = _reasons(node, weights, constant)
        found += ['{} {}: {}'.format(node.op_type, node.name, reason) for reason in reasons]
    for value in [*graph.input, *graph.output, *graph.value_info]:
        tensor = value.type.tensor_type
        if tensor.elem_type not in TYPES:
            name = TensorProto.DataType.Name(tensor.elem_type)
            found.append('{}: of type {}'.format(value.name, name))
        if not all(dim.dim_value for dim in tensor.shape.dim):
            found.append('{}: of no fixed shape'.format(value.name))
    return found


def _reasons(node, weights, constant):
    if node.op_type not in TENSORRT_8_2:
        yield 'is not among its operators'
    kernel = next((len(a.ints) for a in node.attribute if a.name == 'kernel_shape'), 2)
    if kernel not in (2, 3):
        yield 'has a kernel of {} dimensions, not 2 or 3'.format(kernel)
    if node.op_type == 'Conv' and node.input[1] not in constant:
        yield 'has weights that are computed'
    if node.op_type == 'Slice' and not set(node.input[1:]) <= set(weights):
        yield 'has bounds that are computed'
    if node.op_type == 'MaxPool' and len(node.output) > 1:
        yield 'tells indices'
    if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
        zero = weights.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None or numpy_helper.to_array(zero).any():
            yield 'has another zero point than 0'


def counted(model: onnx.ModelProto) -> Counter:
    """Return how many operators of each kind a model has."""
    return Counter(node.op_type for node in model.graph.node)


def main(argv=None):
    """Print a row of Markdown for each bundle; exit with 1 if TensorRT 8.2 would not take one."""
    p = argparse.ArgumentParser(prog='python -m training.operators', description=__doc__)
    p.add_argument('bundles', type=Path, nargs='+', metavar='BUNDLE', help='.onnx')
    bundles, refused = p.parse_args(argv).bundles, []
    try:
        models = [(path, read_model(path)) for path in bundles]
    except BundleError as error:
        raise SystemExit('error: {}'.format(error)) from error
    print('| bundle | operators | views | others |\n|---|---|---|---|')
    for path, model in models:
        kinds = counted(model)
        views = sum(kinds[kind] for kind in VIEWS)
        others = [(kind, count) for kind, count in kinds.most_common() if kind not in VIEWS]
        words = ', '.join('{} {}'.format(count, kind) for kind, count in others)
        print('| {} | {} | {} | {} |'.format(path.name, kinds.total(), views, words))
        refused += ['{}: {}'.format(path.name, line) for line in complaints(model)]
    print('\n'.join(refused or ['TensorRT 8.2 takes all of them by its list of operators.']))
    raise SystemExit(1 if refused else 0)


if __name__ == '__main__':
    main()
