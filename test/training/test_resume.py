import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
import torch
from fabricated import write_set
from tiny import SHORT, Examination, learn, tiny

from training.checkpoints import SCHEMA, TrainingError, WholeFiles, load, network_of, read, save
from training.data.clips import DataError
from training.examination import Validation
from training.settings import TrainSettings
from training.train import begin_with, data_of, train


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
        'from test_resume import SHORT, tiny, train\n'
        'from training.learner import Learner\n'
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


@pytest.mark.parametrize('number, status', [('SIGTERM', 143), ('SIGINT', 1)])
def test_training_that_is_stopped_says_so(folder, tmp_path, number, status):
    script = (
        'import os, signal, sys\n'
        'from training.learner import Learner\n'
        'from training.train import main\n'
        'def stop(self, *args):\n'
        '    os.kill(os.getpid(), signal.{})\n'
        'Learner.on_train_batch_start = stop\n'
        'main(sys.argv[1:])\n'
    ).format(number)
    line = '--width 0.0625 --size 48 --head gap --batch 8 --examples-per-epoch 32 --threads 1'
    stopped = subprocess.run(
        [sys.executable, '-c', script, str(folder), '--out', str(tmp_path), *line.split()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert stopped.returncode == status, stopped.stderr
    assert 'stopped; the same command does the rest' in stopped.stdout + stopped.stderr
    assert 'Traceback' not in stopped.stderr


def stop_after_an_epoch(folder, out, **others):
    """Leave the checkpoints of a training whose first epoch was a good one."""
    settings = dataclasses.replace(SHORT, time_limit_min=1e-4)
    learn(folder, out, settings, examination=Examination([0.9]), **others)


@pytest.mark.parametrize('mark, best', [('clips', 1), ('other clips', 2)])
def test_resumed_training_compares_scores_of_the_same_clips(folder, tmp_path, mark, best):
    stop_after_an_epoch(folder, tmp_path)
    learner, _ = learn(folder, tmp_path, SHORT, examination=Examination([0.5], mark))
    assert learner.since_best == 2 - best
    assert load(tmp_path / 'best.pt')['epoch'] == best


def test_training_of_an_older_version_is_resumed(folder, tmp_path):
    stop_after_an_epoch(folder, tmp_path)
    state = read(tmp_path / 'last.ckpt')
    for name in ('train_settings', 'judged_on', 'learnt_from', 'began_with'):
        del state['learner'][name]
    save(state, tmp_path / 'last.ckpt')
    best = load(tmp_path / 'best.pt')
    del best['learnt_from'], best['began_with']
    save(best, tmp_path / 'best.pt')
    said = []
    report = train([folder], tmp_path, tiny(), SHORT, say=said.append)
    assert 'resumed after epoch 1' in said
    assert (report['epoch'], report['train_clips']) == (1, 7)


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


def test_training_on_clips_that_are_gone_is_not_resumed(trained, tmp_path):
    other = write_set(tmp_path / 'set', clips_per_expression=1, seed=1)
    with pytest.raises(TrainingError, match='from 7 clips, of which 7 are no .* another --out'):
        train([other], trained[0], tiny(), SHORT)


def test_report_tells_of_the_clips_that_were_learnt_from(folder, trained, tmp_path):
    more = write_set(tmp_path / 'more', clips_per_expression=1, seed=1, suffix='x')
    out = tmp_path / 'run'
    shutil.copytree(trained[0], out)
    report = train([folder, more], out, tiny(), SHORT, say=lambda line: None)
    assert (report['train_clips'], report['train_identities']) == (7, 1)
    assert (report['test_clips'], report['test_identities']) == (14, 2)


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


def test_training_begins_with_the_weights_it_is_given(trained):
    network = tiny(dataclasses.replace(SHORT, seed=5))
    assert begin_with(network, trained[0] / 'best.pt') == {
        'windows_seen': trained[1]['windows_seen'],
        'train_clips': 7,
        'train_identities': 1,
        'train_sources': {'rendered': 7},
    }
    kept = load(trained[0] / 'best.pt')['averaged']
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_training_keeps_what_it_began_with(folder, trained, tmp_path):
    beginning = {'windows_seen': 16}
    stop_after_an_epoch(folder, tmp_path, began_with=beginning)
    for _ in range(2):  # goes on, then has ended
        report = train([folder], tmp_path, tiny(), SHORT, say=lambda line: None)
        assert report['began_with'] == beginning


def test_training_that_began_by_itself_has_no_other_beginning(folder, trained, tmp_path):
    out = tmp_path / 'run'
    shutil.copytree(trained[0], out)
    report = train(
        [folder], out, tiny(), SHORT, lambda line: None, began_with={'windows_seen': 16}
    )
    assert report['began_with'] is None


def test_sources_of_a_beginning_are_those_of_its_own_beginning_too(trained, tmp_path):
    state = load(trained[0] / 'best.pt')
    state['report']['began_with'] = {'windows_seen': 16, 'train_sources': {'adfes': 3}}
    save(state, tmp_path / 'best.pt')
    assert begin_with(tiny(), tmp_path / 'best.pt')['train_sources'] == {'rendered': 7, 'adfes': 3}


def test_weights_of_another_network_are_no_beginning(trained):
    with pytest.raises(TrainingError, match="another network .*'width': 0.0625.*leave out --init"):
        begin_with(tiny(width=0.125), trained[0] / 'best.pt')
