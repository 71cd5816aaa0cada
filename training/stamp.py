"""What a bundle carries beside its graph: ``python -m training.stamp BUNDLE`` writes it anew.

The exporter stamps what it writes. The command is for bundles of before: it counts what each
operator of the graph computes and moves, from which ``cs3d bench --roofline`` predicts, and leaves
weights, graph and all other metadata as they are.
"""

import argparse
import json
import math
from pathlib import Path

import onnx

from cs3d_ros import Cs3dError
from cs3d_ros.files import whole_file
from cs3d_ros.inference.bundle import METADATA_KEY, BundleError, read_bundle

# Views, and changes of number that an engine folds into the operators around them.
FREE = {'Reshape', 'QuantizeLinear', 'DequantizeLinear'}


def operators_of(model: onnx.ModelProto) -> list:
    """
    Return what each operator of a graph computes and moves, in the order of the graph.

    Views cost nothing and are left out, as are changes between float and int8.

    Returns
    -------
    list of (str, int, int)
        Kind, multiply-adds, and values read and written, weights included. A bias is no
        multiply-add; a slice reads what it cuts out.

    Raises
    ------
    onnx.shape_inference.InferenceError
        If the shapes contradict each other.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {
        tensor.name: [side.dim_value for side in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.input, *graph.output, *graph.value_info)
    }
    shapes.update({weight.name: list(weight.dims) for weight in graph.initializer})
    integers = {w.name for w in graph.initializer if w.data_type == onnx.TensorProto.INT64}
    return [
        (node.op_type, _macs(node, shapes), _values(node, shapes, integers))
        for node in graph.node
        if node.op_type not in FREE
    ]


def _macs(node, shapes) -> int:
    """Return the multiply-adds: as many per value put out as it sums products."""
    if node.op_type == 'Conv':
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == 'Gemm':
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][1]
    return 0


def _values(node, shapes, integers) -> int:
    written = sum(math.prod(shapes[name]) for name in node.output)
    if node.op_type == 'Slice':
        return 2 * written
    # bounds and shapes, whole numbers, are part of the program
    read = {name for name in node.input if name and name not in integers}
    return written + sum(math.prod(shapes[name]) for name in read)


def write_metadata(model: onnx.ModelProto, metadata: dict):
    """Put metadata and the counts of the graph into a model, in place of what it had."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps({**metadata, 'operators': operators_of(model)})


def stamp(path: Path):
    """
    Write the counts of its graph into a bundle.

    Raises
    ------
    BundleError
        If the file is no bundle, or cannot be written.
    """
    read_bundle(path)
    model = onnx.load(path)
    metadata = next(e.value for e in model.metadata_props if e.key == METADATA_KEY)
    write_metadata(model, json.loads(metadata))
    with whole_file(str(path), 'wb', BundleError) as file:
        file.write(model.SerializeToString())


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(prog='python -m training.stamp', description=__doc__)
    p.add_argument('bundles', type=Path, nargs='+', metavar='BUNDLE', help='.onnx, written anew')
    for path in p.parse_args(argv).bundles:
        try:
            stamp(path)
        except Cs3dError as error:
            raise SystemExit('error: {}'.format(error)) from error
        operators = read_bundle(path).operators
        macs = sum(operator.macs for operator in operators)
        print('{}: {} operators, {:.1f} M multiply-adds'.format(path, len(operators), macs / 1e6))


if __name__ == '__main__':
    main()
