import json

import pytest
from tiny_onnx import METADATA, write_tiny_bundle

from cs3d_ros.inference.bundle import BundleError, read_bundle


def without(name):
    return {key: value for key, value in METADATA.items() if key != name}


def changed(**fields):
    return dict(METADATA, **fields)


def test_bundle_carries_its_metadata(tmp_path):
    bundle = read_bundle(write_tiny_bundle(tmp_path / 'a.onnx'))
    assert bundle.classes == tuple(METADATA['classes'])
    assert (bundle.class_count, bundle.output_count) == (7, 8)
    assert bundle.input_shape == (1, 1, 16, 112, 112)
    assert (bundle.step, bundle.margin, bundle.hop_frames) == (32, 1.15, 2)
    assert bundle.training == {'data': 'none'}


def test_bundle_without_unchanged_has_an_output_per_class(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', outputs=7, metadata=changed(unchanged=False))
    assert read_bundle(path).output_count == 7


@pytest.mark.parametrize(
    'name',
    [
        'schema',
        'kind',
        'name',
        'classes',
        'unchanged',
        'clip_frames',
        'size',
        'period_ns',
        'step',
        'margin',
        'hop_frames',
        'state',
    ],
)
def test_missing_field_is_named_with_the_cure(tmp_path, name):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=without(name))
    with pytest.raises(BundleError, match="lacks '{}'.*export the bundle again".format(name)):
        read_bundle(path)


@pytest.mark.parametrize(
    'field, value',
    [
        ('schema', 'one'),
        ('schema', 0),
        ('schema', True),
        ('kind', 3),
        ('classes', ['happy']),
        ('classes', 'happy'),
        ('classes', ['happy', 'happy']),
        ('classes', ['happy', 3]),
        ('unchanged', 1),
        ('clip_frames', 0),
        ('size', -1),
        ('period_ns', 1.5),
        ('step', 128),
        ('margin', 'wide'),
        ('margin', float('nan')),
        ('hop_frames', None),
        ('state', {}),
    ],
)
def test_wrong_field_is_named_with_what_was_found(tmp_path, field, value):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(**{field: value}))
    with pytest.raises(BundleError, match="'{}' must be .*, got ".format(field)):
        read_bundle(path)


def test_newer_schema_asks_for_an_upgrade(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(schema=2))
    with pytest.raises(BundleError, match='schema 2.*upgrade'):
        read_bundle(path)


def test_unknown_kind_names_those_that_run(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(kind='stream'))
    with pytest.raises(BundleError, match="kind 'stream'.*clip"):
        read_bundle(path)


@pytest.mark.parametrize(
    'metadata, fault',
    [
        (changed(unchanged=False), r'\[1, 7\].*has probabilities \[1, 8\]'),
        (changed(clip_frames=8), r'\[1, 1, 8, 112, 112\].*has clip \[1, 1, 16, 112, 112\]'),
        (changed(size=56), r'\[1, 1, 16, 56, 56\]'),
        (changed(state=['memory']), r'1 state tensor'),
        (changed(accuracy=[0.5]), "'accuracy' must be an object"),
    ],
)
def test_metadata_that_contradicts_the_network_is_refused(tmp_path, metadata, fault):
    with pytest.raises(BundleError, match=fault):
        read_bundle(write_tiny_bundle(tmp_path / 'a.onnx', metadata=metadata))


@pytest.mark.parametrize(
    'text, fault', [('{"schema": 1', 'no JSON'), ('[1, 2]', 'JSON object'), ('', 'no JSON')]
)
def test_metadata_that_is_no_object_is_refused(tmp_path, text, fault):
    with pytest.raises(BundleError, match=fault):
        read_bundle(write_tiny_bundle(tmp_path / 'a.onnx', metadata=text))


def test_onnx_model_without_metadata_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match='no bundle.*training.export'):
        read_bundle(write_tiny_bundle(tmp_path / 'a.onnx', metadata=None))


def test_absent_file_is_told(tmp_path):
    with pytest.raises(BundleError, match='is not there'):
        read_bundle(tmp_path / 'none.onnx')


def test_empty_file_is_told(tmp_path):
    (tmp_path / 'empty.onnx').write_bytes(b'')
    with pytest.raises(BundleError, match='is empty'):
        read_bundle(tmp_path / 'empty.onnx')


def test_foreign_file_is_told(tmp_path):
    (tmp_path / 'foreign.onnx').write_bytes(b'not a network, but a letter\n' * 20)
    with pytest.raises(BundleError, match='does not load as an ONNX model'):
        read_bundle(tmp_path / 'foreign.onnx')


def test_truncated_file_is_told(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx')
    with open(path, 'rb') as file:
        whole = file.read()
    for length in range(1, len(whole) - 1, 37):
        (tmp_path / 'cut.onnx').write_bytes(whole[:length])
        with pytest.raises(BundleError):
            read_bundle(tmp_path / 'cut.onnx')


def test_error_is_one_line_that_names_the_file(tmp_path):
    path = write_tiny_bundle(tmp_path / 'odd.onnx', metadata=json.dumps(without('classes')))
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert 'odd.onnx' in str(caught.value)
    assert '\n' not in str(caught.value)
