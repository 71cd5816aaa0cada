import dataclasses
import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
import torch
from fabricated import write_set
from tiny import SHORT, TINY, Examination, learn, tiny

from training.batches import to_input
from training.checkpoints import TrainingError, load, network_of
from training.data.clips import DataError
from training.dataset import DataSet
from training.examination import temperature_of
from training.learner import Learner
from training.settings import TrainSettings
from training.targets import LABELS
from training.train import asked, data_of, defaults_of, main, new_network, train


def test_training_leaves_all_that_is_asked_of_it(trained):
    out, report = trained
    assert json.loads((out / 'report.json').read_text()) == json.loads(json.dumps(report))
    assert report['test']['all']['trials'] > 0
    assert 0.25 <= report['temperature'] <= 4
    assert 0 <= report['test']['ece'] <= 1
    assert report['train_sources'] == report['test_sources'] == {'rendered': 7}
    assert (report['val_clips'], report['val_identities']) == (7, 1)
    assert 'truth' in (out / 'report.txt').read_text()
    assert (out / 'confusion.png').read_bytes().startswith(b'\x89PNG')
    curves = b''.join(path.read_bytes() for path in (out / 'tensorboard').glob('events*'))
    assert all(name in curves for name in (b'loss', b'gradient', b'waiting', b'val_score'))
    noted = json.loads((out / 'settings.json').read_text())
    assert TrainSettings(**noted['training']) == SHORT


def test_test_identities_are_looked_at_only_once_all_is_chosen(folder, tmp_path):
    settings = dataclasses.replace(SHORT, epochs=1, examples_per_epoch=8)
    noted = []

    def opened(folders, split, *others):
        noted.append(split)
        return data_of(folders, split, *others)

    train([folder], tmp_path, tiny(settings), settings, noted.append, open_data=opened)
    steps = [step for step in noted if step in ('train', 'val', 'test') or step[:5] == 'epoch']
    assert [step[:5] for step in steps] == ['train', 'val', 'epoch', 'val', 'test']


def test_folder_that_is_a_file_is_refused(folder, tmp_path):
    (tmp_path / 'run').write_text('')
    with pytest.raises(DataError, match='run cannot be used as a folder .*: give another --out'):
        train([folder], tmp_path / 'run', tiny(), SHORT)


def test_curves_that_cannot_be_written_end_the_training_with_a_cure(folder, tmp_path):
    (tmp_path / 'tensorboard').write_text('')
    with pytest.raises(DataError, match='tensorboard.*: see that .* can be written'):
        train([folder], tmp_path, tiny(), SHORT, say=lambda line: None)


def test_picture_that_cannot_be_written_is_told_as_other_files_are(folder, trained, tmp_path):
    out = tmp_path / 'run'
    shutil.copytree(trained[0], out)
    (out / 'confusion.png').unlink()
    (out / 'confusion.png').mkdir()
    with pytest.raises(DataError, match=r'confusion\.png cannot be written'):
        train([folder], out, tiny(), SHORT, say=lambda line: None)


def test_loss_that_is_no_number_names_the_cure(folder, tmp_path):
    network = tiny()
    with torch.no_grad():
        network.head[-1].weight.fill_(float('nan'))
    with pytest.raises(TrainingError, match='lower --learning-rate'):
        learn(folder, tmp_path, SHORT, network)


def test_step_whose_gradient_is_no_number_is_passed_over(folder, tmp_path):
    network = tiny()
    calls = []

    def spoil(gradient):
        calls.append(1)
        return gradient * float('nan') if len(calls) == 2 else gradient

    network.head[-1].weight.register_hook(spoil)
    learner, _ = learn(folder, tmp_path, SHORT, network)
    assert len(calls) == 4 and len(learner.history) == 2
    assert all(torch.isfinite(weight).all() for weight in learner.network.state_dict().values())


def test_learning_lowers_the_loss_on_one_batch(folder, tmp_path):
    settings = dataclasses.replace(
        SHORT, epochs=6, examples_per_epoch=40, warmup=0.0, learning_rate=5e-3, precision='fp32'
    )
    learner, _ = learn(folder, tmp_path, settings)
    losses = [row['loss'] for row in learner.history]
    assert losses[-1] < 0.7 * losses[0]


def test_validation_that_gets_no_better_ends_the_training(folder, tmp_path):
    settings = dataclasses.replace(SHORT, epochs=9, examples_per_epoch=8, patience=2)
    examination = Examination([0.3, 0.5, 0.4, 0.45, 0.9, 0.9])
    learner, _ = learn(folder, tmp_path, settings, examination=examination)
    assert len(learner.history) == 4
    assert load(tmp_path / 'best.pt')['epoch'] == 2


def test_time_limit_ends_the_schedule(folder, tmp_path):
    settings = dataclasses.replace(SHORT, epochs=50, examples_per_epoch=8, time_limit_min=1e-4)
    learner, _ = learn(folder, tmp_path, settings)
    assert len(learner.history) == 1


class Slow(Examination):
    """One that takes a minute by a clock of its own."""

    minutes = 0

    def monotonic(self):
        return time.monotonic() + 60 * self.minutes

    def judge(self, network):
        self.minutes += 1
        return super().judge(network)


def test_validation_counts_as_time_of_the_training(folder, tmp_path, monkeypatch):
    settings = dataclasses.replace(SHORT, epochs=9, examples_per_epoch=8, time_limit_min=2)
    slow = Slow([0.5] * 9)
    monkeypatch.setattr('training.learner.time', SimpleNamespace(monotonic=slow.monotonic))
    learner, _ = learn(folder, tmp_path, settings, examination=slow)
    assert len(learner.history) == 2
    assert 120 <= learner.elapsed_s < 180


def test_networks_whose_gradients_explode_are_told_of(folder, tmp_path):
    network = tiny()
    with torch.no_grad():
        network.head[-1].weight.mul_(1e4)
    learner, said = learn(folder, tmp_path, SHORT, network)
    assert any('gradients explode' in line and '--beta (now 4.0)' in line for line in said)
    assert load(tmp_path / 'best.pt')['warnings'] == learner.warnings


def test_neurons_that_fall_silent_are_told_of(folder, tmp_path):
    _, said = learn(folder, tmp_path, SHORT, tiny(theta=9.0))
    assert any('layers fall silent' in line and '--theta (now 9.0)' in line for line in said)


def test_multiply_adds_that_were_counted_wrong_are_told_of(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('training.signs.measured_macs', lambda network: 1)
    _, said = learn(folder, tmp_path, dataclasses.replace(SHORT, examples_per_epoch=8))
    assert sum('tell no cost of it' in line for line in said) == 1


def test_healthy_training_warns_of_nothing(trained):
    assert trained[1]['warnings'] == []


def test_worse_than_the_reference_names_the_missing_residual(folder, trained, tmp_path):
    reference = json.loads((trained[0] / 'report.json').read_text())
    reference['test']['expressions']['accuracy'] = 1.1
    said = []
    report = train([folder], trained[0], tiny(), SHORT, said.append, reference)
    assert any('residual' in line for line in said)
    assert 'residual' in report['warnings'][-1]


def test_reference_of_another_set_is_told(folder, trained, tmp_path):
    other = write_set(tmp_path / 'other', clips_per_expression=1, seed=1)
    settings = dataclasses.replace(SHORT, epochs=1, examples_per_epoch=8)
    report = train(
        [other], tmp_path / 'run', tiny(settings), settings, lambda line: None, trained[1]
    )
    assert 'on others: they do not compare' in report['warnings'][-1]


def test_streaming_network_learns_sequences_with_a_second_head(folder, tmp_path):
    settings = TrainSettings(
        learns='sequences',
        answers='states',
        second_head=0.3,
        epochs=1,
        examples_per_epoch=4,
        batch=4,
        sequence_frames=24,
        threads=1,
    )
    network = new_network('stream', settings, width=0.0625, size=48)
    report = train([folder], tmp_path, network, settings, say=lambda line: None)
    assert report['test']['frames']['trials'] > report['test']['all']['trials']
    assert len(report['test']['labels']) == 7
    assert network_of(load(tmp_path / 'best.pt')).settings.transitions == len(LABELS)


def test_second_head_of_a_clip_network_stays_in_training(folder, tmp_path):
    settings = dataclasses.replace(SHORT, epochs=1, examples_per_epoch=8, second_head=1.0)
    learner, _ = learn(folder, tmp_path, settings)
    assert learner.second.answer.out_features == 7
    network = network_of(load(tmp_path / 'best.pt'))
    assert set(network.state_dict()) == set(tiny().state_dict())
    fresh = Learner(tiny(settings), settings, None, None, tmp_path, print).second
    assert not torch.equal(learner.second.answer.bias, fresh.answer.bias)


def test_two_processes_train_one_network(folder, tmp_path):
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    command += ['-m', 'training.train', str(folder), '--out', str(tmp_path / 'run')]
    command += '--epochs 1 --examples-per-epoch 16 --batch 8 --threads 1'.split()
    for name, value in TINY.items():
        command += ['--' + name.replace('_', '-'), str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / 'run' / 'report.json').read_text())
    assert report['windows_seen'] == 16
    assert done.stdout.count('epoch   1') == 1
    assert done.stdout.count('"learning_rate": 0.002') == 1  # its settings


def test_batch_that_processes_cannot_share_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '3')
    with pytest.raises(TrainingError, match='a batch of 8 cannot be shared by 3'):
        train([folder], tmp_path, tiny(), SHORT)


def test_command_names_what_is_wrong_with_the_data(tmp_path):
    with pytest.raises(SystemExit, match='training.synthesize'):
        main([str(tmp_path), '--out', str(tmp_path / 'out'), '--width', '0.0625'])


def test_command_takes_every_setting_of_training_and_network():
    line = 'data --out x --model stream --width 0.25 --still-share 0.5 --augment mirror noise'
    _, network, settings = asked(line.split())
    assert (network.name, network.settings.width, network.settings.outputs) == ('stream', 0.25, 7)
    assert network.settings.transitions == len(LABELS)
    assert settings == dataclasses.replace(
        defaults_of(network), still_share=0.5, augment=('mirror', 'noise')
    )


@pytest.mark.parametrize(
    'line, match',
    [
        ('--model resnet', 'no network'),
        ('--width 99', 'width must be'),
        ('--learns sequences', 'has no memory'),
        ('--epochs 0', 'epochs must be 1 or more'),
        ('--augment blur', 'invalid choice'),
        ('--seed -1', 'seed must not be negative'),
        ('--frame-step 0', 'frame_step must be 1 to 127'),
        ('--frame-step 128', 'frame_step must be 1 to 127'),
        ('--background-activity-ms -5', 'background_activity_ms must not be negative'),
        ('--mod c3d', 'unrecognized arguments: --mod'),
    ],
)
def test_command_names_a_setting_that_cannot_be(line, match, capsys):
    with pytest.raises(SystemExit):
        asked(['data', '--out', 'x', *line.split()])
    assert match in capsys.readouterr().err


def test_calibration_finds_the_temperature_of_overconfident_logits():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(4000, 8)))
    truth = torch.distributions.Categorical(logits=logits).sample().numpy()
    assert temperature_of(3 * logits, truth) == pytest.approx(3.0, rel=0.15)


def test_input_is_what_the_robot_reads():
    frames = np.array([[[[0, 128, 255]]]], np.uint8)
    assert to_input(frames).flatten().tolist() == [-1, 0, 127 / 128]


def test_offsets_count_as_unchanged_where_they_are_not_explicit(folder, tmp_path):
    settings = dataclasses.replace(SHORT, explicit_offset=False, label_smoothing=0.0)
    learner = Learner(tiny(settings).eval(), settings, None, None, tmp_path, print)
    learner._losses, learner._hits = [], []
    examples = DataSet(folder, 'train', settings.frame_settings(48)).batch(
        8, np.random.default_rng(0)
    )
    at_rest = examples._replace(changing=np.full_like(examples.changing, LABELS.index('neutral')))
    losses = []
    for one, explicit in ((at_rest, False), (at_rest, True)):
        learner.settings = dataclasses.replace(settings, explicit_offset=explicit)
        losses.append(learner.training_step(type(one)(*map(torch.from_numpy, one)), 0).item())
    logits = learner.network(to_input(examples.frames))
    rows = torch.log_softmax(logits, 1).mean(0)
    assert losses == pytest.approx([-float(rows[-1]), -float(rows[0])], rel=1e-4)


def test_states_weigh_more_while_something_is_seen_to_change(folder, tmp_path):
    settings = dataclasses.replace(SHORT, answers='states', moment_weight=3.0, label_smoothing=0.0)
    learner = Learner(tiny(settings).eval(), settings, None, None, tmp_path, print)
    learner._losses, learner._hits = [], []
    examples = DataSet(folder, 'train', settings.frame_settings(48)).batch(
        18, np.random.default_rng(0)
    )
    worn = np.arange(18).reshape(18, 1) % 7
    examples = examples._replace(worn=worn, worn_weight=np.ones((18, 1), np.float32))
    loss = learner.training_step(type(examples)(*map(torch.from_numpy, examples)), 0).item()
    rows = torch.log_softmax(learner.network(to_input(examples.frames)), 1).detach().numpy()
    losses = -rows[np.arange(18), worn[:, 0]]
    weights = np.where(examples.changing[:, 0] == LABELS.index('unchanged'), 1, 3)
    assert set(weights) == {1, 3}
    assert loss == pytest.approx(np.average(losses, weights=weights), rel=1e-4)
