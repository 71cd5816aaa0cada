from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('onnx')
import torch

from cs3d_ros.events import FrameSettings, concatenate, still_frame
from cs3d_ros.face import Box
from cs3d_ros.inference import BundleError, open_engine, read_bundle
from cs3d_ros.pipeline import Preprocessor
from training.export import (
    ExportError,
    card_of,
    main,
    metadata_of,
    probabilities_of,
    write_bundle,
)
from training.metrics import judge
from training.models import CS3D, CS3DSettings
from training.train import TrainSettings, save

# Threshold 0, where the neuron is continuous and every rounding gives the same answer.
SMALL = CS3DSettings(outputs=8, width=0.125, head='gap', stem_filters=4, stem_stride=2, theta=0.0)
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data'


def network_of(settings):
    """Return a network whose normalisation has seen clips, so that there is something to fold."""
    torch.manual_seed(2)
    network = CS3D(settings).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(2, 1, 16, 112, 112) * (torch.rand(2, 1, 16, 112, 112) < 0.2) / 4)
    return network.eval()


def report_of(network):
    rng = np.random.default_rng(0)
    result = judge(
        rng.integers(0, 8, 64),
        rng.dirichlet(np.ones(8), 64),
        ['neutral', 'happy', 'surprised', 'angry', 'disgusted', 'sad', 'scared', 'unchanged'],
    )
    return {
        'network': network.settings.as_dict(),
        'training': asdict(TrainSettings()),
        'epoch': 3,
        'elapsed_min': 1.5,
        'windows_seen': 640,
        'macs': 10**8,
        'parameters': 10**5,
        'temperature': 0.8,
        'train_clips': 10,
        'train_identities': 5,
        'test_clips': 4,
        'test_identities': 2,
        'validation': result,
        'test': result,
    }


@pytest.fixture(scope='module')
def network():
    return network_of(SMALL)


@pytest.fixture(scope='module')
def bundle_path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('bundle') / 'cs3d.onnx'
    write_bundle(network, metadata_of(network, report_of(network)), path, temperature=0.8)
    return path


def real_clips(source, bundle):
    """Yield clips of a real recording or video, cut by the robot's own chain."""
    if source.endswith('.aedat4'):
        pytest.importorskip('dv_processing')
        from cs3d_ros.events import open_recording

        with open_recording(REAL / 'recordings' / source) as recording:
            batch = concatenate(recording.batches())
        roi = Box(100, 60, 120, 120)
    else:
        pytest.importorskip('cv2')
        from cs3d_ros.simulator.video import simulate_video

        batch = concatenate(simulate_video(REAL / 'videos' / source))
        roi = Box(216, 96, 152, 195)
    frames = Preprocessor(batch.width, batch.height, bundle, roi).push(batch)
    still = [still_frame(bundle.size)] * 15  # as a clip begins on the robot
    images = np.stack(still + [frame.image for frame in frames])
    for start in range(len(frames)):
        clip = (images[start : start + 16].astype(np.float32) - 128) / 128
        yield np.ascontiguousarray(clip[None, None])


@pytest.mark.parametrize('source', ['neutral_to_smile.mp4', 'davis346_bench.aedat4'])
@pytest.mark.skipif(not REAL.is_dir(), reason='real recordings are not part of the repository')
def test_onnx_runtime_answers_as_torch_on_real_clips(source, network, bundle_path):
    engine = open_engine(bundle_path, threads=1)
    differences = [
        np.abs(engine.run(clip)[0] - probabilities_of(network, 0.8, clip)).max()
        for clip in real_clips(source, engine.bundle)
    ]
    assert len(differences) >= 2
    assert max(differences) <= 1e-4


def test_bundle_says_what_the_data_set_and_the_robot_agree_on(bundle_path):
    bundle = read_bundle(bundle_path)
    frames = FrameSettings()
    assert (bundle.size, bundle.period_ns, bundle.step) == frames
    assert bundle.unchanged
    assert bundle.accuracy['expressions']['trials'] > 0
    assert bundle.training['settings']['seed'] == 1


def test_metadata_that_contradicts_the_network_leaves_no_file(network, tmp_path):
    metadata = dict(metadata_of(network, report_of(network)), unchanged=False)
    with pytest.raises(BundleError):
        write_bundle(network, metadata, tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []


def test_bundle_that_answers_otherwise_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr('training.export.typical_difference', lambda *_: 0.01)
    with pytest.raises(ExportError, match='differ by 1.0e-02'):
        write_bundle(network, metadata_of(network, report_of(network)), tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []


def test_card_states_accuracy_with_its_interval(network):
    card = card_of(report_of(network))
    assert 'Wilson interval' in card
    assert 'No real face was seen in training' in card
    assert '{' not in card


def test_command_exports_bundle_and_card(network, tmp_path, capsys):
    state = {'averaged': network.state_dict(), 'network_settings': network.settings.as_dict()}
    save({**state, 'report': report_of(network)}, tmp_path / 'best.pt')
    main([str(tmp_path / 'best.pt'), '-o', str(tmp_path / 'out.onnx')])
    assert 'kB' in capsys.readouterr().out
    assert read_bundle(tmp_path / 'out.onnx').name == 'cs3d'
    assert (tmp_path / 'out.md').read_text().startswith('# ')
    save(state, tmp_path / 'best.pt')
    with pytest.raises(SystemExit, match='has not ended'):
        main([str(tmp_path / 'best.pt'), '-o', str(tmp_path / 'out.onnx')])
