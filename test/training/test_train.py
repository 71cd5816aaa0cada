import json

import numpy as np
import pytest

pytest.importorskip('torch')
import torch
from fabricated import write_set

from training import train as training
from training.data.clips import DataError
from training.dataset import LABELS, DataSet
from training.metrics import confusion_matrix, judge, scores, wilson_interval
from training.models import CS3DSettings
from training.train import (
    Trainer,
    TrainingError,
    TrainSettings,
    calibrate,
    load,
    main,
    train,
)

TINY = CS3DSettings(
    outputs=8, width=0.0625, head='gap', stem_filters=2, stem_stride=2, dropout=0.0
)
SHORT = TrainSettings(epochs=2, windows_per_epoch=16, batch=8, threads=1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set') / 'set', clips_per_expression=1)


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('run')
    return out, train(folder, out, TINY, SHORT, say=lambda line: None)


def test_training_leaves_checkpoints_and_a_report(trained):
    out, report = trained
    assert load(out / 'last.pt')['epoch'] == 2
    assert json.loads((out / 'report.json').read_text()) == json.loads(json.dumps(report))
    assert report['test']['all']['trials'] > 0
    assert 0.25 <= report['temperature'] <= 4
    assert 'truth' in (out / 'report.txt').read_text()


def test_checkpoint_carries_all_settings(trained):
    state = load(trained[0] / 'best.pt')
    assert CS3DSettings(**state['network_settings']) == TINY
    assert TrainSettings(**state['train_settings']) == SHORT


def test_resumed_training_ends_where_an_unbroken_one_does(folder, trained):
    data = DataSet(folder, 'train')
    whole = Trainer(TINY, SHORT)
    for _ in range(2):
        whole.run_epoch(data)
    broken = Trainer(TINY, SHORT)
    broken.run_epoch(data)
    resumed = Trainer(TINY, SHORT)
    resumed.resume(broken.state())
    resumed.run_epoch(data)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value)


def test_finished_training_is_not_trained_again(folder, trained):
    said = []
    train(folder, trained[0], TINY, SHORT, say=said.append)
    assert not [line for line in said if line.startswith('epoch')]


def test_checkpoint_of_another_network_is_refused(trained):
    trainer = Trainer(CS3DSettings(outputs=8, width=0.125, head='gap'), SHORT)
    with pytest.raises(TrainingError, match='another network'):
        trainer.resume(load(trained[0] / 'last.pt'))


def test_loss_that_is_no_number_names_the_cure(folder):
    trainer = Trainer(TINY, SHORT)
    with torch.no_grad():
        trainer.network.head[-1].weight.fill_(float('nan'))
    with pytest.raises(TrainingError, match='lower --learning-rate'):
        trainer.run_epoch(DataSet(folder, 'train'))


def test_learning_lowers_the_loss_on_one_batch(folder):
    settings = TrainSettings(
        epochs=30, windows_per_epoch=16, batch=16, threads=1, warmup=0.0, learning_rate=5e-3
    )
    trainer = Trainer(TINY, settings)
    frames, labels = DataSet(folder, 'train').batch(16, np.random.default_rng(0))
    clips, labels = training.to_input(frames), torch.from_numpy(labels)
    losses = [trainer._learn(clips, labels)[0] for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_time_limit_ends_the_schedule(folder):
    trainer = Trainer(TINY, TrainSettings(epochs=100, time_limit_min=1.0))
    trainer.elapsed_s = 30.0
    assert trainer.progress == pytest.approx(0.5)


def test_truncated_checkpoint_is_refused(trained, tmp_path):
    whole = (trained[0] / 'last.pt').read_bytes()
    (tmp_path / 'cut.pt').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match='no whole checkpoint'):
        load(tmp_path / 'cut.pt')


def test_error_in_the_loader_reaches_the_trainer(folder):
    class Broken(DataSet):
        def batch(self, size, rng, vary=True):
            raise DataError('the clip is gone')

    with pytest.raises(DataError, match='gone'):
        Trainer(TINY, SHORT).run_epoch(Broken(folder, 'train'))


def test_command_names_what_is_wrong_with_the_data(tmp_path):
    with pytest.raises(SystemExit, match='training.synthesize'):
        main([str(tmp_path), '--out', str(tmp_path / 'out'), '--width', '0.0625'])


def test_calibration_finds_the_temperature_of_overconfident_logits():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(4000, 8)))
    truth = torch.distributions.Categorical(logits=logits).sample().numpy()
    assert calibrate(3 * logits, truth) == pytest.approx(3.0, rel=0.15)


def test_wilson_interval_of_the_textbook():
    assert [round(limit, 3) for limit in wilson_interval(29, 37)] == [0.628, 0.886]
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_scores_of_a_small_matrix_by_hand():
    matrix = confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2)
    assert matrix.tolist() == [[1, 1], [0, 2]]
    score = scores(matrix)
    assert score['accuracy'] == 0.75
    assert score['mean_recall'] == 0.75
    assert score['macro_f1'] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_expressions_are_judged_without_the_unchanged_answer():
    probabilities = np.zeros((2, 8))
    probabilities[0, [1, 7]] = 0.4, 0.6  # happy, but unchanged is likelier
    probabilities[1, 7] = 1.0
    result = judge([1, 7], probabilities, LABELS)
    assert result['all']['accuracy'] == 0.5
    assert result['expressions']['accuracy'] == 1.0
    assert result['expressions']['trials'] == 1
