import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
pytest.importorskip('h5py')
pytest.importorskip('numba')

from fabricated import make_set, write_set

from training.checkpoints import DivergedError, TrainingError
from training.cuts import keep_open
from training.data.clips import ClipSet, DataError, write_shard
from training.experiments import campaign, candidates, examine, paper
from training.experiments.__main__ import main
from training.experiments.ablate import Ablation
from training.experiments.campaign import Run, finish, training_of
from training.experiments.candidates import HARD, FromBaseline, score
from training.experiments.examine import Examiner
from training.experiments.paper import Paper, entries, folder_name
from training.experiments.reported import C3D, CS3D, SHIPPED, STREAM
from training.experiments.scale import Scale
from training.experiments.variants import LEARNING, SETTLING, Variant, ingredients
from training.experiments.views import write_view
from training.models import LADDER
from training.models.counter import TABLE

TINY = Scale(1 / 64, 48, (1,), 1, 8, batch=8, threads=1, precision='fp32')
SCALE = (
    '--width 0.015625 --size 48 --seeds 1 --epochs 1 --examples-per-epoch 8 --batch 8 --threads 1 '
    '--precision fp32'
).split()


@pytest.fixture(autouse=True, scope='module')
def small():
    """Let there be but a network of each kind."""
    names = C3D, CS3D, SHIPPED, STREAM, 'video transformer'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, 'TABLE', {name: paper.TABLE[name] for name in names})
        yield


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('sets') / 'dots')


@pytest.fixture(scope='module')
def hard(source, tmp_path_factory):
    """Return the set with its clips spread over two conditions."""
    return write_view(
        tmp_path_factory.mktemp('hard') / 'dots',
        [source],
        lambda e: {**e, 'condition': ('standard', 'pose')[e['index'] % 2]},
    )


@pytest.fixture(scope='module')
def trained(hard, tmp_path_factory):
    """Return a tiny network that was trained on the set, and its folder."""
    out = tmp_path_factory.mktemp('out')
    return finish(tiny_run(hard), out, say=lambda line: None)


def tiny_run(source, **network_settings):
    settings = {**TINY.applied({'head': 'gap'}), **network_settings}
    return Run('try/cs3d', 'cs3d', settings, training_of(TINY, 'cs3d', 1), (source,))


def test_finished_training_is_kept_and_not_repeated(trained, hard, monkeypatch):
    monkeypatch.setattr(campaign, 'train', lambda *_, **__: pytest.fail('trained again'))
    again = finish(tiny_run(hard), trained.folder.parents[3], say=lambda line: None)
    assert again.report == trained.report
    assert again.checkpoint.exists()


def test_training_with_other_settings_does_not_take_its_place(trained, hard):
    with pytest.raises(DataError, match=r'another training \(theta None, not 0.5\)'):
        finish(tiny_run(hard, theta=0.5), trained.folder.parents[3])


def test_training_on_other_data_at_the_same_place_does_not_take_its_place(source, tmp_path):
    folder = tmp_path / 'set'
    view = write_view(folder, [source], lambda e: e)
    finish(tiny_run(view), tmp_path / 'out', say=lambda line: None)
    write_view(folder, [source], lambda e: e if e['index'] else None)
    with pytest.raises(DataError, match=r'another training \(data .*set'):
        finish(tiny_run(view), tmp_path / 'out')


def test_how_fast_and_where_decide_nothing(trained, hard):
    faster = tiny_run(hard)
    faster = faster._replace(training=replace(faster.training, threads=2, loaders=3))
    assert faster.described() == trained.run.described()
    cut, moved = (
        faster._replace(training=replace(faster.training, cuts=cuts)).described()
        for cuts in ('cuts/a', '/data/cuts/a')
    )
    assert cut == moved != faster.described()


def test_training_that_diverges_is_a_result(hard, tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise DivergedError('the loss became nan')

    monkeypatch.setattr(campaign, 'train', diverge)
    lines = []
    for _ in range(2):
        found = finish(tiny_run(hard), tmp_path, lines.append)
        assert found.failed == 'the loss became nan'
    assert len([line for line in lines if 'broke off' in line]) == 1


def test_network_that_cannot_be_is_told(hard, tmp_path):
    with pytest.raises(TrainingError, match='try/cs3d cannot be trained'):
        finish(tiny_run(hard, width=9.0), tmp_path)


def test_epochs_of_sequences_hold_fewer_of_them():
    scale = Scale(examples_per_epoch=1024, batch=8, seeds=(7,))
    windows, sequences = (training_of(scale, name, 7) for name in ('cs3d', 'stream'))
    assert (windows.learns, windows.examples_per_epoch) == ('windows', 1024)
    assert (sequences.learns, sequences.examples_per_epoch) == ('sequences', 256)
    assert (windows.batch, sequences.batch) == (8, 2)
    assert sequences.seed == 7


def test_conditions_are_judged_apart_and_together(trained, hard, tmp_path):
    examiner = Examiner([hard], tmp_path)
    assert examiner.conditions == ['pose', 'standard']
    answers = examiner.answers(trained)
    found = examiner.summary(trained)
    for name, (truth, answer) in answers.items():
        assert len(truth) == 12  # onset and offset of six expressions
        recalls = [np.mean(answer[truth == label] == label) for label in np.unique(truth)]
        assert found['conditions'][name]['accuracy'] == np.mean(truth == answer)
        assert found['conditions'][name]['mean_recall'] == pytest.approx(np.mean(recalls))
    truth, answer = examiner.expressions(trained)
    assert found['all']['trials'] == 24
    assert found['all']['chance'] == 0.5
    assert found['all']['accuracy'] == np.mean(truth == answer)
    assert found['standard']['accuracy'] == found['conditions']['standard']['accuracy']
    assert found['hard'] is None  # of the four conditions one is there
    assert all(0 <= share <= 1 for share in found['silent'].values())


def test_set_without_a_standard_condition_has_no_figures_of_one(trained, hard, tmp_path):
    posed = write_view(tmp_path / 'posed', [hard], lambda e: {**e, 'condition': 'pose'})
    found = Examiner([posed], tmp_path / 'views').summary(trained)
    assert found['standard'] is None
    assert found['all']['trials'] == 24


def test_answers_are_kept_beside_the_checkpoint(trained, hard, tmp_path, monkeypatch):
    before = Examiner([hard], tmp_path / 'a').answers(trained)
    monkeypatch.setattr(
        'training.experiments.examine.load', lambda path: pytest.fail('asked again')
    )
    after = Examiner([hard], tmp_path / 'b').answers(trained)
    np.testing.assert_array_equal(before['pose'], after['pose'])


def test_network_is_asked_anew_about_other_events_of_the_same_plan(trained, source, tmp_path):
    other = tmp_path / 'dots'
    other.mkdir()
    clips = [replace(clip, events=clip.events[:10]) for clip in make_set()]
    write_shard(other / 'a.h5', clips[::2])
    write_shard(other / 'b.h5', clips[1::2])
    assert ClipSet(other).entries == ClipSet(source).entries
    before = set(trained.folder.glob('answers-*'))
    for data in (source, other):
        Examiner([data], tmp_path / 'views').answers(trained)
    assert len(set(trained.folder.glob('answers-*')) - before) == 2


@pytest.mark.parametrize('length', [0, 20])
def test_answers_that_were_cut_off_are_asked_for_again(trained, hard, tmp_path, length):
    examiner = Examiner([hard], tmp_path / 'views')
    before = examiner.answers(trained)
    for path in trained.folder.glob('answers-*.json'):
        path.write_text(path.read_text()[:length])
    np.testing.assert_array_equal(examiner.answers(trained)['pose'], before['pose'])


def test_set_without_test_clips_is_told_before_training(hard, tmp_path):
    others = write_view(tmp_path / 'others', [hard], lambda e: None if e['split'] == 'test' else e)
    with pytest.raises(DataError, match='no clip of .*others is in the split test'):
        Examiner([others], tmp_path / 'views')


def test_ladder_has_the_steps_of_the_paper_in_order():
    assert list(TABLE)[1:5] == list(LADDER)[:4]
    assert {C3D, CS3D, STREAM, SHIPPED} <= set(TABLE)


def test_paper_trains_its_networks_and_names_what_it_did_not_run(hard, tmp_path):
    document = tmp_path / 'results.md'
    main(
        ['paper', str(hard), '--out', str(tmp_path / 'out'), '--parts', 'ladder', 'light']
        + ['--document', str(document), *SCALE]
    )
    text = document.read_text()
    for entry in entries():
        assert '| {} |'.format(entry.name) in text
    assert 'less `+ attention`, same seeds' in text
    assert '| standard | 1 |' in text
    assert 'Not run yet' in text


def test_ladder_cuts_its_set_once(source, hard, tmp_path):
    study = Paper([hard], tmp_path, TINY._replace(variations=2), say=lambda line: None)
    study.ladder([SHIPPED, STREAM])
    (folder,) = (tmp_path / 'cuts').iterdir()
    learnt = [json.loads(path.read_text())['training'] for path in tmp_path.rglob('run.json')]
    assert {training['learns'] for training in learnt} == {'windows', 'sequences'}
    assert {training['cuts'] for training in learnt} == {folder.name}
    with pytest.raises(DataError, match='cuts one set, got 2'):
        Paper([source, hard], tmp_path / 'two', study.scale, say=None).ladder([SHIPPED])


def test_networks_that_were_trained_before_stay_in_the_table(hard, tmp_path):
    study = Paper([hard], tmp_path, TINY, say=lambda line: None)
    study.ladder([CS3D])
    result = study.ladder([SHIPPED])
    assert [row['name'] for row in result['rows']] == [CS3D, SHIPPED]
    with pytest.raises(DataError, match="the table has no 'ResNet'"):
        study.ladder(['ResNet'])


def test_what_learns_for_longer_learns_apart_from_the_ladder(hard, tmp_path):
    Paper([hard], tmp_path, TINY, say=lambda line: None).ladder([CS3D])
    longer = Paper([hard], tmp_path, TINY._replace(epochs=2), say=lambda line: None)
    assert [row['name'] for row in longer.longer()['rows']] == [C3D, CS3D, SHIPPED]
    rows = json.loads((tmp_path / 'ladder.json').read_text())['rows']
    assert [row['name'] for row in rows] == [CS3D]


def test_every_network_learns_at_the_rate_that_suits_it(hard, tmp_path, monkeypatch):
    scores = {3e-4: 0.3, 1e-3: 0.5, 3e-3: None}  # the highest breaks off
    real = paper.finish

    def tried(run, *others):
        found, score = real(run, *others), scores[run.training.learning_rate]
        if score is None:
            return found._replace(report=None, failed='the loss became nan')
        return found._replace(report={**found.report, 'validation': {'score': score}})

    monkeypatch.setattr(paper, 'finish', tried)
    study = Paper([hard], tmp_path, TINY._replace(seeds=(1, 2)), say=lambda line: None)
    (row,) = study.ladder([SHIPPED])['rows']
    assert row['learning_rate'] == 1e-3
    assert [run['seed'] for run in row['runs']] == [1, 2]
    found = [json.loads(path.read_text())['training'] for path in tmp_path.rglob('run.json')]
    assert sorted((training['seed'], training['learning_rate']) for training in found) == [
        (1, 3e-4),
        (1, 1e-3),
        (1, 3e-3),
        (2, 1e-3),
    ]


def test_sensitivity_takes_a_share_of_the_ladder(hard, tmp_path):
    study = Paper([hard], tmp_path, TINY._replace(epochs=4), say=lambda line: None)
    result = study.sensitivity((0.25,), (4.0, 8.0), share=0.25)
    assert [cell['beta'] for cell in result['cells']] == [4.0, 8.0]
    assert all(0 <= cell['mean_recall'] <= 1 for cell in result['cells'])
    kept = json.loads(
        (tmp_path / 'runs/sensitivity/theta_0_25_beta_8/seed-1/run.json').read_text()
    )
    assert kept['training']['epochs'] == 1
    assert kept['network_settings']['beta'] == 8.0


def test_only_sets_that_were_cut_stay_open():
    opened, settings = keep_open(lambda *asked: object()), training_of(TINY, 'cs3d', 1)
    cut = replace(settings, cuts='cuts')
    kept = opened(['set'], 'val', cut, 48)
    others = replace(cut, seed=2, learning_rate=0.1, batch=4)
    assert opened(['set'], 'val', others, 48) is kept
    assert opened(['set'], 'val', settings, 48) is not opened(['set'], 'val', settings, 48)
    for folders, split, settings, size in (
        (['other'], 'val', cut, 48),
        (['set'], 'test', cut, 48),
        (['set'], 'val', replace(cut, doubt_weight=0.5), 48),
        (['set'], 'val', replace(cut, learns='sequences'), 48),
        (['set'], 'val', replace(cut, cuts='others'), 48),
        (['set'], 'val', replace(cut, frame_step=16), 48),
        (['set'], 'val', cut, 64),
    ):
        assert opened(folders, split, settings, size) is not kept


def test_cross_tests_both_ways(source, tmp_path):
    other = write_set(tmp_path / 'more', seed=1, suffix='b')
    line = ['cross', str(source), str(other), '--out', str(tmp_path / 'out'), *SCALE]
    main([*line, '--variations', '2', '--workers', '1'])
    assert len(list((tmp_path / 'out' / 'cuts').iterdir())) == 2
    pairs = json.loads((tmp_path / 'out' / 'cross.json').read_text())['pairs']
    assert [(pair['train'], pair['test']) for pair in pairs] == [
        ('dots', 'dots'),
        ('dots', 'more'),
        ('more', 'dots'),
        ('more', 'more'),
    ]
    assert all(pair['trials'] == 24 for pair in pairs)


@pytest.mark.parametrize('name', ['faces_1', 'Faces-1', 'faces-1'])
def test_cross_refuses_names_that_make_one_folder(tmp_path, name):
    both = str(tmp_path / 'a' / 'faces-1'), str(tmp_path / 'b' / name)
    with pytest.raises(SystemExit, match="differ in letters or digits, got 'faces-1' and"):
        main(['cross', *both, '--out', str(tmp_path)])


def test_document_alone_needs_no_data(tmp_path):
    (tmp_path / 'out').mkdir()
    document = tmp_path / 'results.md'
    line = ['paper', str(tmp_path / 'gone'), '--out', str(tmp_path / 'out'), '--parts']
    main([*line, '--document', str(document)])
    assert document.read_text().startswith('# What was measured')


def test_ablation_trains_what_differs_and_settles_what_does_not(hard, tmp_path):
    ablation = Ablation(hard, tmp_path, TINY, say=lambda line: None)
    relu = Variant('ReLU for SSN', ('cs3d', {'ssn': False}))
    variants = [LEARNING[0], SETTLING[0], relu]
    result = ablation.run(variants, clips=10, workers=1)
    assert [row['name'] for row in result['rows']] == [v.name for v in variants]
    runs = [row['runs'][0] for row in result['rows']]
    assert runs[0]['standard'] == runs[1]['standard']  # the same network
    assert runs[0]['settled']['onsets'] > 0
    assert runs[0]['real'] is None
    assert sorted(path.name for path in (tmp_path / 'runs/ablation').iterdir()) == [
        'relu_for_ssn',
        'windows',
    ]


def test_variants_that_were_trained_before_stay_in_the_table(hard, tmp_path):
    scale = TINY._replace(variations=2)
    ablation = Ablation(hard, tmp_path, scale, say=lambda line: None)
    relu, coarse, few = (
        Variant('ReLU for SSN', ('cs3d', {'ssn': False})),
        Variant('coarse', training={'frame_step': 64}),
        ingredients(['hands'])[1],
    )
    variants = [LEARNING[0], relu, SETTLING[0], coarse, few]
    first = ablation.run(variants, clips=10, workers=1, names=['ReLU for SSN'])
    assert [row['name'] for row in first['rows']] == ['windows', 'ReLU for SSN']
    result = ablation.run(variants, clips=10, workers=1, names=['windows'])
    names = ['windows', 'ReLU for SSN', 'slow integration']
    assert [row['name'] for row in result['rows']] == names
    assert len(list((tmp_path / 'cuts').iterdir())) == 1  # nothing was cut for the others


def test_ablation_cuts_once_whatever_variants_share(hard, tmp_path, monkeypatch):
    cut, real = [], examine.validation_sequences
    monkeypatch.setattr(
        examine, 'validation_sequences', lambda *asked: cut.append(asked) or real(*asked)
    )
    variants = [
        Variant(name, ('cs3d', settings), {'sequence_frames': 24, **training})
        for name, settings, training in (
            ('windows', {}, {}),
            ('relu', {'ssn': False}, {}),
            ('coarse', {}, {'frame_step': 64}),
        )
    ]
    ablation = Ablation(hard, tmp_path, TINY._replace(variations=2), say=lambda line: None)
    result = ablation.run(variants, clips=10, workers=1)
    assert [len(row['runs']) for row in result['rows']] == [1, 1, 1]
    assert not any('failed' in row['runs'][0] for row in result['rows'])
    folders = sorted((tmp_path / 'cuts').iterdir())
    assert len(folders) == 2  # one of steps of 32, one of 64
    steps = {
        json.loads((folder / 'cuts.json').read_text())['settings']['frame_step']
        for folder in folders
    }
    assert steps == {32, 64}
    assert len(cut) == 2


def test_network_that_learnt_from_cleaned_events_watches_cleaned_ones(hard, tmp_path, monkeypatch):
    shown, real = [], candidates.boxed_frames
    monkeypatch.setattr(
        candidates, 'boxed_frames', lambda events, *how: shown.append(events) or real(events, *how)
    )
    cleaned = Variant('events cleaned', training={'background_activity_ms': 10.0})
    ablation = Ablation(hard, tmp_path, TINY, say=lambda line: None)
    ablation.run([LEARNING[0], cleaned], clips=10, workers=1)
    raw, clean = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    assert len(raw) == len(clean) > 0
    assert all(0 < len(b) < len(a) for a, b in zip(raw, clean))


def test_sets_without_an_ingredient_are_compared_with_as_many_clips(hard, tmp_path):
    ablation = Ablation(hard, tmp_path, TINY, say=lambda line: None)
    with pytest.raises(DataError, match='holds 42 of the 43 clips .*--clips'):
        ablation.run(ingredients(['hands']), clips=43, workers=1)


@pytest.mark.parametrize('option', ['--epochs', '--width', '--workers', '--batch', '--threads'])
def test_number_that_cannot_be_is_told_at_once(option, capsys):
    with pytest.raises(SystemExit):
        main(['cross', 'a', 'b', '--out', 'out', option, '0'])
    assert 'argument {}: 0 is less than'.format(option) in capsys.readouterr().err


@pytest.mark.parametrize(
    'options, last',
    [
        (['--variants', 'events cleaned'], ['events cleaned']),
        (['--without', 'hands'], ['all ingredients', 'without hands']),
    ],
)
def test_variants_that_are_asked_for_are_run(hard, tmp_path, monkeypatch, options, last):
    names = []
    monkeypatch.setattr(Ablation, 'run', lambda self, *asked: names.extend(asked[-1]))
    main(['ablate', str(hard), '--out', str(tmp_path), *options, *SCALE])
    assert names[-len(last) :] == last
    assert (len(names) == 1) == ('--variants' in options)


def test_unknown_variant_is_told(hard, tmp_path):
    with pytest.raises(SystemExit, match="no variant 'magic'"):
        main(['ablate', str(hard), '--out', str(tmp_path), '--variants', 'magic', *SCALE])
    with pytest.raises(SystemExit, match="no variant 'without magic'"):
        main(['ablate', str(hard), '--out', str(tmp_path), '--without', 'magic', *SCALE])


def test_variants_have_names_of_their_own():
    variants = LEARNING + SETTLING + ingredients(['hands', 'fringe'])
    assert len({folder_name(v.name) for v in variants}) == len(variants)
    assert variants[0].changes == 'nothing'
    assert ingredients(['hands'])[1].changes == 'learnt without hands'


def test_score_is_less_for_loud_networks():
    assert score(0.6, {'loud_share': 0.1}) == pytest.approx(0.5)
    assert score(0.6, {'loud_share': None}) is None
    assert score(None, {'loud_share': 0.1}) is None
    assert len(set(HARD)) == 4


class Constant:
    """An engine that answers in a row what it was given."""

    class bundle:  # noqa: N801
        classes, unchanged = ('neutral', 'happy'), True

    def __init__(self, answers):
        self._answers = iter(answers)

    def run(self, frames, state=()):
        return np.array(next(self._answers)), state


def test_baseline_discounts_what_a_neutral_face_already_brings():
    engine = FromBaseline(Constant([[0.1, 0.6, 0.3]] * 8 + [[0.1, 0.7, 0.2]]))
    for _ in range(8):
        before, _ = engine.run(None)
    after, _ = engine.run(None)
    assert before[1] == pytest.approx(1 / 3 / (0.1 + 1 / 3 + 0.3), abs=1e-6)
    assert after.sum() == pytest.approx(1.0)
    assert after[1] < 0.7
    assert after[1] > before[1]
