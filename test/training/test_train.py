import dataclasses
import json
import os
import resource
import shutil
import signal
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

from training.batches import to_input
from training.checkpoints import SCHEMA, TrainingError, WholeFiles, load, network_of, read, save
from training.data.clips import DataError
from training.dataset import DataSet
from training.examination import Validation, temperature_of
from training.learner import Learner
from training.settings import TrainSettings
from training.targets import LABELS
from training.train import (
    asked,
    begin_with,
    data_of,
    defaults_of,
    lightning_trainer,
    main,
    new_network,
    train,
)

TINY = {
    'width': 0.0625,
    'head': 'gap',
    'stem_filters': 2,
    'stem_stride': 2,
    'dropout': 0.1,
    'size': 48,
}
SHORT = TrainSettings(epochs=2, examples_per_epoch=16, batch=8, threads=1)


def tiny(settings=SHORT, **others):
    return new_network('cs3d', settings, **{**TINY, **others})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set') / 'set', clips_per_expression=1)


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('run')
    return out, train([folder], out, tiny(), SHORT, say=lambda line: None)


class Fixed:
    """Data of one batch, the same at every step."""

    def __init__(self, examples):
        self.examples = examples

    def take_in(self):
        return 0

    def batch(self, size, rng):
        return self.examples


class Examination:
    """Scores as they were noted down before, of clips that have a mark."""

    def __init__(self, scores, mark='clips'):
        self._scores, self._mark = iter(scores), mark

    def __call__(self):
        return self, self._mark

    def judge(self, network):
        return {'loss': 1.0, 'score': next(self._scores), 'expressions': {'accuracy': 0.5}}


def learn(folder, out, settings, network=None, examination=None):
    """Run a training on one batch, from where it was; return the learner and what was said."""
    data = DataSet(folder, 'train', settings.frame_settings(48), kinds=())
    examples = data.batch(settings.batch, np.random.default_rng(0))
    said = []
    network = network or tiny(settings)
    examination = examination or Examination([0.5] * settings.epochs)
    learner = Learner(network, settings, Fixed(examples), examination, out, said.append)
    last = out / 'last.ckpt'
    path = str(last) if last.exists() else None
    lightning_trainer(out, settings, 1).fit(learner, ckpt_path=path)
    return learner, said


def test_training_leaves_all_that_is_asked_of_it(trained):
    out, report = trained
    assert json.loads((out / 'report.json').read_text()) == json.loads(json.dumps(report))
    assert report['test']['all']['trials'] > 0
    assert 0.25 <= report['temperature'] <= 4
    assert 0 <= report['test']['ece'] <= 1
    assert 'truth' in (out / 'report.txt').read_text()
    assert (out / 'confusion.png').read_bytes().startswith(b'\x89PNG')
    assert list((out / 'tensorboard').glob('events*'))
    noted = json.loads((out / 'settings.json').read_text())
    assert TrainSettings(**noted['training']) == SHORT


def test_checkpoint_carries_all_that_rebuilds_the_network(trained):
    state = load(trained[0] / 'best.pt')
    assert (state['schema'], state['model']) == (SCHEMA, 'cs3d')
    assert TrainSettings(**state['train_settings']) == SHORT
    assert state['report']['test'] == trained[1]['test']
    network = network_of(state)
    assert not network.training
    assert network.settings == tiny().settings


def test_killed_training_resumes_and_ends_where_an_unbroken_one_does(folder, trained, tmp_path):
    script = (
        'import os, signal, sys\n'
        "sys.path.insert(0, 'test/training')\n"
        'from test_train import Learner, SHORT, tiny, train\n'
        'whole = Learner.on_train_batch_end\n'
        'def die(self, *args):\n'
        '    if self.history:\n'
        '        os.kill(os.getpid(), signal.SIGKILL)\n'
        '    whole(self, *args)\n'
        'Learner.on_train_batch_end = die\n'
        'train([sys.argv[1]], sys.argv[2], tiny(), SHORT)\n'
    )
    killed = subprocess.run(
        [sys.executable, '-c', script, str(folder), str(tmp_path)], capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    said = []
    train([folder], tmp_path, tiny(), SHORT, say=said.append)
    assert 'resumed after epoch 1' in said
    assert len([line for line in said if line.startswith('epoch')]) == 1
    whole, resumed = (read(out / 'last.ckpt')['state_dict'] for out in (trained[0], tmp_path))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value)
    whole, resumed = (load(out / 'best.pt') for out in (trained[0], tmp_path))
    assert resumed['epoch'] == whole['epoch']
    for name, value in whole['averaged'].items():
        torch.testing.assert_close(resumed['averaged'][name], value)


def stop_after_an_epoch(folder, out):
    """Leave the checkpoints of a training whose first epoch was a good one."""
    settings = dataclasses.replace(SHORT, time_limit_min=1e-4)
    learn(folder, out, settings, examination=Examination([0.9]))


@pytest.mark.parametrize('mark, best', [('clips', 1), ('other clips', 2)])
def test_resumed_training_compares_scores_of_the_same_clips(folder, tmp_path, mark, best):
    stop_after_an_epoch(folder, tmp_path)
    learner, _ = learn(folder, tmp_path, SHORT, examination=Examination([0.5], mark))
    assert learner.since_best == 2 - best
    assert load(tmp_path / 'best.pt')['epoch'] == best


def test_training_of_an_older_version_is_resumed(folder, tmp_path):
    stop_after_an_epoch(folder, tmp_path)
    state = read(tmp_path / 'last.ckpt')
    for name in ('train_settings', 'judged_on'):
        del state['learner'][name]
    save(state, tmp_path / 'last.ckpt')
    said = []
    train([folder], tmp_path, tiny(), SHORT, say=said.append)
    assert 'resumed after epoch 1' in said
    assert load(tmp_path / 'best.pt')['epoch'] == 1


def test_validation_is_the_same_as_long_as_its_clips_are(tmp_path):
    folder = write_set(tmp_path / 'set', clips_per_expression=1)
    validation = Validation([folder], SHORT, 48, data_of)
    (examination, mark), again = validation(), validation()
    assert again == (examination, mark)
    assert Validation([folder], SHORT, 48, data_of)()[1] == mark
    more = write_set(tmp_path / 'more', clips_per_expression=1, seed=1)
    for shard in more.glob('*.h5'):
        shard.rename(folder / ('more-' + shard.name))
    grown = validation()
    assert grown[0] is not examination and grown[1] != mark


def test_finished_training_is_not_trained_again(folder, trained):
    said = []
    train([folder], trained[0], tiny(), SHORT, say=said.append)
    assert not [line for line in said if line.startswith('epoch')]


def test_training_of_another_network_is_not_resumed(folder, trained):
    with pytest.raises(TrainingError, match='another network'):
        train([folder], trained[0], tiny(width=0.125), SHORT)


@pytest.mark.parametrize(
    'others, match',
    [
        (
            {'frame_step': 8, 'learning_rate': 1e-5},
            'with frame_step 32, learning_rate 0.002, this asks for frame_step 8, learning_rate '
            '1e-05: give the same',
        ),
        ({'second_head': 0.3}, 'with second_head 0.0, this asks for second_head 0.3'),
        ({'epochs': 3}, 'with epochs 2, this asks for epochs 3'),
        ({'cuts': 'cuts'}, 'with cuts False, this asks for cuts True'),
    ],
)
def test_training_of_other_settings_is_not_resumed(folder, trained, others, match):
    settings = dataclasses.replace(SHORT, **others)
    with pytest.raises(TrainingError, match=match):
        train([folder], trained[0], tiny(settings), settings, open_data=uncut)


def uncut(folders, split, settings, size):
    return data_of(folders, split, dataclasses.replace(settings, cuts=''), size)


def test_what_serves_the_machine_may_change_between_runs(folder, trained, tmp_path):
    out = tmp_path / 'run'
    shutil.copytree(trained[0], out)
    settings = dataclasses.replace(SHORT, threads=2, loaders=2, patience=9, time_limit_min=99.0)
    train([folder], out, tiny(), settings, say=lambda line: None)
    noted = json.loads((out / 'settings.json').read_text())
    assert TrainSettings(**noted['training']) == settings


def test_cuts_may_move_between_runs(folder, tmp_path):
    asked_for = []

    def opened(folders, split, settings, size):
        asked_for.append(settings.cuts)
        return uncut(folders, split, settings, size)

    here, there = (dataclasses.replace(SHORT, epochs=1, cuts=name) for name in ('here', 'there'))
    train([folder], tmp_path, tiny(), here, say=lambda line: None, open_data=opened)
    asked_for.clear()
    train([folder], tmp_path, tiny(), there, say=lambda line: None, open_data=opened)
    assert set(asked_for) == {'there'}


def test_folder_that_is_a_file_is_refused(folder, tmp_path):
    (tmp_path / 'run').write_text('')
    with pytest.raises(DataError, match='run cannot be used as a folder .*: give another --out'):
        train([folder], tmp_path / 'run', tiny(), SHORT)


def test_curves_that_cannot_be_written_end_the_training_with_a_cure(folder, tmp_path):
    (tmp_path / 'tensorboard').write_text('')
    with pytest.raises(DataError, match='tensorboard.*: see that .* can be written'):
        train([folder], tmp_path, tiny(), SHORT, say=lambda line: None)


def test_weights_of_another_architecture_are_refused(trained):
    state = load(trained[0] / 'best.pt')
    state['network_settings'] = {**state['network_settings'], 'width': 0.25}
    with pytest.raises(TrainingError, match='none of a network'):
        network_of(state)


def test_checkpoint_of_an_older_version_is_refused(trained, tmp_path):
    state = load(trained[0] / 'best.pt')
    save({**state, 'schema': 1}, tmp_path / 'old.pt')
    with pytest.raises(TrainingError, match='schema 1'):
        load(tmp_path / 'old.pt')


def test_truncated_checkpoint_is_refused(trained, tmp_path):
    whole = (trained[0] / 'best.pt').read_bytes()
    (tmp_path / 'cut.pt').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match='no whole checkpoint'):
        load(tmp_path / 'cut.pt')


@pytest.mark.parametrize('write', [save, WholeFiles().save_checkpoint])
def test_full_disk_keeps_the_older_checkpoint(write, tmp_path):
    path = tmp_path / 'last.ckpt'
    write({'step': 1}, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DataError, match='cannot be written.*make room'):
            write({'step': 2, 'weights': torch.zeros(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['last.ckpt']


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


def test_training_begins_with_the_weights_it_is_given(trained):
    network = tiny(dataclasses.replace(SHORT, seed=5))
    assert begin_with(network, trained[0] / 'best.pt') == {
        'windows_seen': trained[1]['windows_seen'],
        'train_clips': 7,
        'train_identities': 1,
    }
    kept = load(trained[0] / 'best.pt')['averaged']
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_weights_of_another_network_are_no_beginning(trained):
    with pytest.raises(TrainingError, match="another network .*'width': 0.0625.*leave out --init"):
        begin_with(tiny(width=0.125), trained[0] / 'best.pt')


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


def test_healthy_training_warns_of_nothing(trained):
    assert trained[1]['warnings'] == []


def test_worse_than_the_reference_names_the_missing_residual(folder, trained, tmp_path):
    reference = json.loads((trained[0] / 'report.json').read_text())
    reference['test']['expressions']['accuracy'] = 1.1
    said = []
    report = train([folder], trained[0], tiny(), SHORT, said.append, reference)
    assert any('residual' in line for line in said)
    assert 'residual' in report['warnings'][-1]


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
