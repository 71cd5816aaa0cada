import errno
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('onnx')
pytest.importorskip('pytorch_lightning')
import torch
from fabricated import write_set
from networks import SMALL_CLIP, SMALL_STREAM, frames_of, network_of, report_of

from cs3d_ros.events import FrameSettings, concatenate
from cs3d_ros.face import Box
from cs3d_ros.face.align import MARGIN
from cs3d_ros.inference import (
    BundleError,
    EmotionSettings,
    OnnxRuntimeEngine,
    read_bundle,
)
from cs3d_ros.inference.estimator import scaled
from cs3d_ros.pipeline import Preprocessor
from training.calibrate import Watched, fit_settling, fit_temperature, watch
from training.cards import card_of
from training.checkpoints import SCHEMA, TrainingError, save
from training.data.clips import DataError
from training.export import (
    ExportError,
    differences,
    export,
    main,
    mean_difference,
    metadata_of,
    write_bundle,
)

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / 'shared' / 'data'
FLOOR = ROOT / '.venv-3.6' / 'bin' / 'python'
NETWORKS = {'clip': ('cs3d', SMALL_CLIP), 'stream': ('stream', SMALL_STREAM)}


@pytest.fixture(scope='module', params=NETWORKS)
def exported(request, tmp_path_factory):
    """A network and its bundle, once as clip and once as stream."""
    name, settings = NETWORKS[request.param]
    network = network_of(name, **settings)
    path = tmp_path_factory.mktemp('bundle') / (request.param + '.onnx')
    write_bundle(network, metadata_of(network, report_of(network), 'x'), path, temperature=0.8)
    return network, path


def test_bundle_says_what_the_network_is(exported):
    network, path = exported
    bundle = read_bundle(path)
    streams = network.name == 'stream'
    assert (bundle.schema, bundle.kind) == (2, 'stream' if streams else 'clip')
    assert bundle.unchanged != streams
    assert (bundle.clip_frames, bundle.hop_frames) == ((1, 1) if streams else (16, 2))
    assert bundle.state == (network.state_names if streams else ())
    assert (bundle.size, bundle.period_ns, bundle.step) == FrameSettings()
    assert bundle.margin == MARGIN
    assert bundle.accuracy['expressions']['trials'] > 0
    assert bundle.training['settings']['seed'] == 1


def test_bundle_says_how_its_frames_are_made_and_its_answers_settle():
    network = network_of('stream', **SMALL_STREAM)
    report = report_of(network, frame_step=64)
    settling = EmotionSettings(dwell_s=0.4)
    metadata = metadata_of(network, report, 'x', settling, {'clips': 3}, ['sad'])
    assert metadata['step'] == 64
    assert EmotionSettings(**metadata['settling']) == settling
    assert metadata['unproven'] == ['sad']
    assert metadata['accuracy']['validation'] == {'clips': 3}


def test_network_of_other_answers_is_refused():
    network = network_of('stream', **{**SMALL_STREAM, 'outputs': 5})
    with pytest.raises(ExportError, match='5 outputs, a bundle has 7 .* or 8'):
        metadata_of(network, report_of(network), 'x')


@lru_cache(None)
def real_events(source):
    """Return the events of a real recording or video, and where its face is."""
    if source.endswith('.aedat4'):
        from cs3d_ros.events import open_recording

        with open_recording(REAL / 'recordings' / source) as recording:
            return concatenate(recording.batches()), Box(100, 60, 120, 120)
    pytest.importorskip('cv2')
    from cs3d_ros.simulator.video import simulate_video

    return concatenate(simulate_video(REAL / 'videos' / source)), Box(216, 96, 152, 195)


def real_images(source, bundle):
    """Return the face frames of a real recording or video, by the robot's own chain."""
    batch, roi = real_events(source)
    frames = Preprocessor(batch.width, batch.height, bundle, roi).push(batch)
    return np.stack([frame.image for frame in frames])


needs_real = pytest.mark.skipif(not REAL.is_dir(), reason='real recordings are not in git')


@pytest.mark.parametrize('source', ['neutral_to_smile.mp4', 'davis346_bench.aedat4'])
@needs_real
def test_onnx_runtime_answers_as_torch_on_real_frames(source, exported):
    network, path = exported
    engine = OnnxRuntimeEngine(path, threads=1)
    images = real_images(source, engine.bundle)
    images = images[: 16 * 6] if len(images) >= 16 else np.concatenate([images] * 16)[:16]
    found = differences(network, 0.8, engine, images)
    assert len(found) >= 1
    assert found.max() <= 1e-4


@needs_real
def test_network_whose_neurons_jump_answers_as_torch_on_real_frames(tmp_path):
    network, path = network_of('cs3d', **{**SMALL_CLIP, 'theta': 0.25}), tmp_path / 'a.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), path)
    engine = OnnxRuntimeEngine(path, threads=1)
    images = real_images('neutral_to_smile.mp4', engine.bundle)
    # the median, as rounding may tip a neuron that stands at its threshold
    assert np.median(differences(network, 1.0, engine, images)) <= 1e-4


ANSWER = """
import sys
import numpy as np
from cs3d_ros.inference import OnnxRuntimeEngine
engine = OnnxRuntimeEngine(sys.argv[1], threads=1)
answers, state = [], ()
for frames in np.load(sys.argv[2]):
    answer, state = engine.run(frames, state)
    answers.append(answer)
np.save(sys.argv[3], np.array(answers))
"""


class Replayed:
    """An engine whose answers come from elsewhere."""

    def __init__(self, bundle, answers):
        self.bundle, self._answers = bundle, iter(answers)

    def run(self, frames, state=()):
        return next(self._answers), ()


@pytest.mark.skipif(not FLOOR.exists(), reason='scripts/bootstrap.py floor makes Python 3.6')
@pytest.mark.parametrize(
    'source', ['drawn', pytest.param('neutral_to_smile.mp4', marks=needs_real)]
)
def test_onnx_runtime_1_10_on_python_3_6_answers_as_torch(source, exported, tmp_path):
    network, path = exported
    bundle = read_bundle(path)
    is_drawn = source == 'drawn'
    images = frames_of(np.random.default_rng(4), 64) if is_drawn else real_images(source, bundle)
    images = images[:64]
    np.save(tmp_path / 'frames.npy', scaled(images).reshape(-1, *bundle.input_shape))
    arguments = [str(path), str(tmp_path / 'frames.npy'), str(tmp_path / 'answers.npy')]
    subprocess.run([str(FLOOR), '-c', ANSWER, *arguments], cwd=str(ROOT), check=True)
    engine = Replayed(bundle, np.load(tmp_path / 'answers.npy'))
    assert differences(network, 0.8, engine, images).max() <= 1e-4


def test_metadata_that_contradicts_the_network_leaves_no_file(exported, tmp_path):
    network, _ = exported
    metadata = metadata_of(network, report_of(network), 'x')
    with pytest.raises(BundleError):
        write_bundle(
            network, {**metadata, 'unchanged': not metadata['unchanged']}, tmp_path / 'a.onnx'
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('int8, apart', [(False, 2e-4), (True, 6e-2)])
def test_bundle_that_answers_otherwise_is_refused(exported, tmp_path, monkeypatch, int8, apart):
    network, _ = exported
    metadata = metadata_of(network, report_of(network), 'x')
    monkeypatch.setattr('training.export.differences', lambda *_: np.array([apart]))
    cure = 'export without --int8' if int8 else 'please report it'
    frames = [frames_of(np.random.default_rng(0), 16)] if int8 else ()
    with pytest.raises(ExportError, match='differ by {:.1e}, more than .*{}'.format(apart, cure)):
        write_bundle(network, metadata, tmp_path / 'a.onnx', int8_frames=frames)
    assert list(tmp_path.iterdir()) == []


def test_sequences_shorter_than_a_clip_prove_nothing_about_int8(tmp_path):
    network, rng = network_of('cs3d', **SMALL_CLIP), np.random.default_rng(0)
    short, long = ([frames_of(rng, length)] for length in (15, 16))
    path = tmp_path / 'a.onnx'
    write_bundle(network, metadata_of(network, report_of(network), 'x'), path, 1.0, short + long)
    alone, mixed = (mean_difference(network, 1.0, path, s) for s in (long, 8 * short + long))
    assert mixed == alone


def checkpoint_of(network, path, **fields):
    """Write a checkpoint of a network whose training has ended, and return its path."""
    state = {
        'schema': SCHEMA,
        'model': network.name,
        'averaged': network.state_dict(),
        'network_settings': network.settings.as_dict(),
        'report': report_of(network),
        **fields,
    }
    save({name: value for name, value in state.items() if value is not None}, path)
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set') / 'set', clips_per_expression=1)


@pytest.mark.parametrize('kind, int8', [('stream', False), ('clip', True)])
def test_command_exports_bundle_and_card(kind, int8, folder, tmp_path, capsys):
    name, settings = NETWORKS[kind]
    best = checkpoint_of(network_of(name, **settings), tmp_path / 'best.pt')
    out = tmp_path / 'face.onnx'
    command = [str(best), '-o', str(out), '--data', str(folder), '--unproven', 'sad', 'scared']
    (tmp_path / 'real.txt').write_text('Every smile was found.')
    main(command + ['--real', str(tmp_path / 'real.txt')] + ['--int8'] * int8)
    assert 'face.onnx: ' in capsys.readouterr().out
    bundle = read_bundle(out)
    assert (bundle.name, bundle.unproven) == ('face', ('sad', 'scared'))
    settled = bundle.accuracy['validation']['settled']
    assert settled['frames'] > 100
    card = out.with_suffix('.md').read_text()
    assert card.startswith('# face.onnx\n')
    assert 'Every smile was found.' in card
    assert 'Not shown to work on real people: **sad, scared**' in card
    assert 'the settled answer is right in {:.1f} %'.format(100 * settled['accuracy']) in card
    assert ('int8 where it pays' in card) == int8
    assert '{' not in card.replace('emotion/{}', '')
    if kind == 'stream':
        calibration = bundle.accuracy['validation']['calibration']
        assert (
            'clear frames of {} validation clips'.format(bundle.accuracy['validation']['clips'])
            in card
        )
        assert calibration['ece'] <= calibration['ece_before'] + 0.02


def drawn_from(network, sharpness, count=6):
    """Return sequences whose truth is drawn from a network's own answers, made less sharp."""
    rng, sequences = np.random.default_rng(0), []
    still = np.full((20, 112, 112), 128, np.uint8)
    for _ in range(count):
        frames = np.concatenate([still, frames_of(rng, 20)] * 2)
        with torch.inference_mode():
            logits = network(torch.from_numpy(scaled(frames))[None, None])[0]
        shares = torch.softmax(logits / sharpness, 1).numpy()
        worn = (shares.cumsum(1) < rng.random((len(frames), 1))).sum(1)
        sequences.append(Watched(frames, worn, np.ones(len(frames), bool)))
    return sequences


def test_answers_of_a_bundle_ask_for_no_other_temperature_nor_settling(tmp_path):
    network = network_of('stream', **SMALL_STREAM)
    with torch.no_grad():
        network.answer.weight *= 40  # so that answers differ
    sequences, path = drawn_from(network, sharpness=2.0), tmp_path / 'a.onnx'
    export(checkpoint_of(network, tmp_path / 'best.pt'), path, ['set'], cut=lambda *_: sequences)
    engine = OnnxRuntimeEngine(path)
    timelines = watch(engine, sequences)
    assert fit_temperature(timelines)[0] == pytest.approx(1.0, rel=0.04)  # a step of its search
    settling, told = fit_settling(timelines, unchanged=False)
    assert engine.bundle.settling == settling != EmotionSettings()
    assert engine.bundle.accuracy['validation']['settled'] == pytest.approx(told)


def test_text_for_the_card_that_is_none_is_told(tmp_path):
    text, out = tmp_path / 'real.md', tmp_path / 'a.onnx'
    text.write_bytes(b'\xff\xfe')
    with pytest.raises(SystemExit, match=r'^error: .*real\.md is no text'):
        main([str(tmp_path / 'best.pt'), '-o', str(out), '--real', str(text)])
    assert not out.exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    network = network_of('cs3d', **{**SMALL_CLIP, 'theta': 0.25})
    with torch.no_grad():
        next(network.parameters())[0] = float('nan')
    best = checkpoint_of(network, tmp_path / 'best.pt')
    # the threshold turns NaN into 0, so that ONNX Runtime's answers alone look right
    with pytest.raises(ExportError, match='best.pt: weights of .* are no numbers: train again'):
        export(best, tmp_path / 'a.onnx')
    with pytest.raises(ExportError, match='differ by nan'):
        write_bundle(network, metadata_of(network, report_of(network), 'x'), tmp_path / 'a.onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['best.pt']


@pytest.mark.parametrize('output', ['face.md', 'face', 'missing/face.onnx'])
def test_output_is_checked_before_the_work(output, tmp_path):
    with pytest.raises(ExportError, match='must be an .onnx file in a folder that exists'):
        export(tmp_path / 'no.pt', tmp_path / output)


def test_disk_that_is_full_leaves_the_old_bundle(exported, tmp_path, monkeypatch):
    network, _ = exported
    old = tmp_path / 'a.onnx'
    old.write_bytes(b'old')

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(DataError, match='a.onnx cannot be written .*No space left.*: make room'):
        write_bundle(network, metadata_of(network, report_of(network), 'x'), old)
    assert [path.name for path in tmp_path.iterdir()] == ['a.onnx']
    assert old.read_bytes() == b'old'


def test_card_names_the_filter_that_the_network_learnt_behind(tmp_path):
    network = network_of('cs3d', **SMALL_CLIP)
    report = report_of(network, background_activity_ms=10.0)
    best = checkpoint_of(network, tmp_path / 'best.pt', report=report)
    export(best, tmp_path / 'a.onnx')
    assert '`--background-activity 10` of `cs3d run`' in (tmp_path / 'a.md').read_text()


def test_card_without_data_says_what_was_not_measured(tmp_path):
    best = checkpoint_of(network_of('cs3d', **SMALL_CLIP), tmp_path / 'best.pt')
    export(best, tmp_path / 'a.onnx')
    card = (tmp_path / 'a.md').read_text()
    assert 'Settling was not fitted' in card
    assert 'Not measured for this version.' in card
    assert 'Wilson interval' in card
    assert 'No real face was seen in training' in card


def described_as(**told):
    network = network_of('cs3d', **SMALL_CLIP)
    report = {**report_of(network), **told}
    metadata = metadata_of(network, report, 'a')
    words = metadata['training']['data'], metadata['accuracy']['on']
    return (card_of('a.onnx', metadata, report, 1.0), *words)


@pytest.mark.parametrize(
    'began_with', [None, {'train_sources': {'rendered': 30}, 'windows_seen': 9}]
)
def test_rendered_faces_are_told_of_as_before_sources_were_counted(began_with):
    older = {'windows_seen': 9} if began_with else None
    rendered = described_as(
        train_sources={'rendered': 10}, test_sources={'rendered': 4}, began_with=began_with
    )
    assert 'No real face was seen in training' in rendered[0]
    assert rendered == described_as(began_with=older)


@pytest.mark.parametrize(
    'told',
    [
        {'train_sources': {'adfes': 7, 'rendered': 3}, 'test_sources': {'adfes': 4}},
        {
            'train_sources': {'rendered': 3},
            'test_sources': {'adfes': 4},
            'began_with': {'windows_seen': 9, 'train_sources': {'adfes': 7}},
        },
    ],
)
def test_faces_of_corpora_are_not_called_rendered(told):
    card, data, judged_on = described_as(**told)
    assert 'adfes (7), rendered (3)' in card and 'adfes (7), rendered (3)' in data
    assert 'adfes (4)' in card and 'adfes (4)' in judged_on
    for lie in ('No real face', 'rendered people', 'rendered faces', 'true face box'):
        assert lie not in card + data + judged_on


def test_card_names_the_people_that_the_epoch_was_chosen_on():
    card = described_as(val_clips=400, val_identities=133)[0]
    assert 'chosen on validation identities (400 clips of 133 people).' in card
    assert 'chosen on validation identities.' in described_as()[0]  # of an older version


def test_training_that_has_not_ended_is_told(tmp_path):
    network = network_of('cs3d', **SMALL_CLIP)
    best = checkpoint_of(network, tmp_path / 'best.pt', report=None)
    with pytest.raises(TrainingError, match='has not ended'):
        export(best, tmp_path / 'a.onnx')
    with pytest.raises(SystemExit, match='error: .*has not ended'):
        main([str(best), '-o', str(tmp_path / 'a.onnx')])


def test_int8_without_data_is_told(tmp_path):
    best = checkpoint_of(network_of('cs3d', **SMALL_CLIP), tmp_path / 'best.pt')
    with pytest.raises(ExportError, match='int8 is calibrated on .* --data'):
        export(best, tmp_path / 'a.onnx', int8=True)


def test_checkpoint_of_another_architecture_is_told(tmp_path):
    network = network_of('cs3d', **SMALL_CLIP)
    settings = {**network.settings.as_dict(), 'width': 0.25}
    best = checkpoint_of(network, tmp_path / 'best.pt', network_settings=settings)
    with pytest.raises(TrainingError, match='none of a network'):
        export(best, tmp_path / 'a.onnx')
