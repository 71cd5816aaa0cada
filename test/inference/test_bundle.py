import json

import numpy as np
import pytest
from tiny_onnx import (
    METADATA,
    STREAM_METADATA,
    write_tiny_bundle,
    write_tiny_stream,
)

from cs3d_ros.inference.bundle import BundleError, read_bundle
from cs3d_ros.inference.emotion import EmotionSettings


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
        ('classes', ['happy', 'sad']),
        ('unchanged', 1),
        ('clip_frames', 0),
        ('size', -1),
        ('period_ns', 1.5),
        ('period_ns', 999_999),
        ('period_ns', 10**30),
        ('step', 128),
        ('margin', 'wide'),
        ('margin', True),
        ('margin', float('nan')),
        ('hop_frames', None),
        ('operators', {}),
        ('operators', [['Conv', 1]]),
        ('operators', [['Conv', 1, -1]]),
        ('operators', [['Conv', 1.5, 1]]),
        ('operators', [[1, 1, 1]]),
        ('state', {}),
    ],
)
def test_wrong_field_is_named_with_what_was_found(tmp_path, field, value):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(**{field: value}))
    with pytest.raises(BundleError, match="'{}' must be .*, got ".format(field)):
        read_bundle(path)


@pytest.mark.parametrize('period_ns', [1_000_000, 1_000_000_000])
def test_period_from_a_millisecond_to_a_second_is_read(tmp_path, period_ns):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(period_ns=period_ns))
    assert read_bundle(path).period_ns == period_ns


def test_period_out_of_range_is_refused_with_the_range(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(period_ns=1_000_000_001))
    with pytest.raises(
        BundleError, match='from 1000000 to 1000000000 .1 ms to 1 s., got 1000000001'
    ):
        read_bundle(path)


def test_clips_that_leave_frames_out_between_them_are_refused(tmp_path):
    assert read_bundle(write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(hop_frames=16)))
    path = write_tiny_bundle(tmp_path / 'b.onnx', metadata=changed(hop_frames=17))
    with pytest.raises(BundleError, match='leaves frames out: hop_frames 17 .* clip_frames 16'):
        read_bundle(path)


def test_newer_schema_asks_for_an_upgrade(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(schema=3))
    with pytest.raises(BundleError, match='schema 3.*upgrade'):
        read_bundle(path)


def test_unknown_kind_names_those_that_run(tmp_path):
    path = write_tiny_bundle(tmp_path / 'a.onnx', metadata=changed(kind='face'))
    with pytest.raises(BundleError, match="kind 'face'.*clip, stream"):
        read_bundle(path)


def test_stream_bundle_knows_its_memory_from_the_network(tmp_path):
    bundle = read_bundle(write_tiny_stream(tmp_path / 'a.onnx'))
    assert (bundle.input_name, bundle.input_shape) == ('frame', (1, 1, 112, 112))
    assert bundle.output_count == 7
    (memory,) = bundle.initial_state()
    assert (memory.shape, memory.dtype, memory.any()) == ((1, 1), np.float32, False)


def test_settling_of_the_metadata_fills_up_with_defaults(tmp_path):
    metadata = dict(STREAM_METADATA, settling={'dwell_s': 0.4, 'rate_hz': 3})
    bundle = read_bundle(write_tiny_stream(tmp_path / 'a.onnx', metadata=metadata))
    assert bundle.settling == EmotionSettings()._replace(dwell_s=0.4, rate_hz=3)


def test_first_schema_settles_by_default_and_calls_nothing_unproven(tmp_path):
    bundle = read_bundle(write_tiny_bundle(tmp_path / 'a.onnx'))
    assert (bundle.settling, bundle.unproven) == (EmotionSettings(), ())


@pytest.mark.parametrize(
    'fields, fault',
    [
        ({'settling': []}, "'settling' must be an object"),
        ({'settling': {'dwel_s': 0.1}}, "fields of EmotionSettings, got 'dwel_s'"),
        ({'settling': {'check': 0.1}}, "fields of EmotionSettings, got 'check'"),
        ({'settling': {'dwell_s': '1'}}, 'fields of EmotionSettings'),
        ({'settling': {'dwell_s': True}}, 'fields of EmotionSettings'),
        ({'settling': {'name_unproven': 1}}, 'fields of EmotionSettings'),
        ({'settling': {'dwell_s': -1}}, 'out of range'),
        ({'settling': {'rate_hz': float('nan')}}, 'out of range'),
        ({'unproven': ['bored']}, "'unproven' must be a list of classes"),
        ({'unproven': ['neutral']}, 'neutral not among them'),
        ({'unproven': 'sad'}, "'unproven' must be a list of classes"),
        ({'state': []}, 'has state tensors, got .* 0 state tensors'),
        ({'clip_frames': 16}, 'one frame at a time.*got clip_frames 16'),
        ({'hop_frames': 2}, 'one frame at a time.*hop_frames 2'),
        ({'state': ['cell']}, r'input .*cell \[\].*has frame .*memory'),
        ({'state': ['memory', 'cell']}, r'input .*cell'),
        ({'unchanged': True}, r'output probabilities \[1, 8\].*probabilities \[1, 7\]'),
        ({'kind': 'clip', 'state': []}, r'input clip .*has frame'),
    ],
)
def test_stream_that_contradicts_itself_is_refused(tmp_path, fields, fault):
    path = write_tiny_stream(tmp_path / 'a.onnx', metadata=dict(STREAM_METADATA, **fields))
    with pytest.raises(BundleError, match=fault):
        read_bundle(path)


def test_memory_that_comes_out_otherwise_than_it_goes_in_is_refused(tmp_path):
    path = write_tiny_stream(tmp_path / 'a.onnx', memory_out='next_other')
    with pytest.raises(BundleError, match=r'output .*next_memory .*has .*next_other'):
        read_bundle(path)


def test_memory_of_no_fixed_shape_is_refused(tmp_path):
    path = write_tiny_stream(tmp_path / 'a.onnx', memory_shape=(1, 'n'))
    with pytest.raises(BundleError, match=r'of fixed shape'):
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
    'text, fault',
    [
        ('{"schema": 1', 'no JSON'),
        ('[1, 2]', 'JSON object'),
        ('', 'no JSON'),
        ('[' * 100_000, 'no JSON that can be read'),
        (
            json.dumps(METADATA)[:-1] + ', "more": ' + '[' * 100_000 + ']' * 100_000 + '}',
            'recursion',
        ),
    ],
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


@pytest.mark.parametrize('write', [write_tiny_bundle, write_tiny_stream])
def test_file_with_flipped_bits_is_read_or_refused(tmp_path, write):
    rng = np.random.default_rng(7)
    with open(write(tmp_path / 'a.onnx'), 'rb') as file:
        whole = np.frombuffer(file.read(), np.uint8)
    refused = 0
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=3)] ^= 1 << rng.integers(8, size=3).astype(np.uint8)
        (tmp_path / 'flipped.onnx').write_bytes(damaged.tobytes())
        try:
            read_bundle(tmp_path / 'flipped.onnx')
        except BundleError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > 40  # the rest hit weights, names of layers, or free text


def test_error_is_one_line_that_names_the_file(tmp_path):
    path = write_tiny_bundle(tmp_path / 'odd.onnx', metadata=json.dumps(without('classes')))
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert 'odd.onnx' in str(caught.value)
    assert '\n' not in str(caught.value)
