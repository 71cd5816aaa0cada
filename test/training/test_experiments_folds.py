import json

import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
pytest.importorskip('h5py')
pytest.importorskip('numba')

from dataclasses import replace

import numpy as np
from fabricated import make_clip, make_set, write_set

from training.data.clips import DataError, write_shard
from training.experiments.__main__ import main
from training.experiments.folds import parts_of, rare, shown_by, split_of, usable
from training.experiments.views import write_view

SCALE = (
    '--width 0.015625 --size 48 --seeds 1 --epochs 1 --examples-per-epoch 8 --batch 8 --threads 1 '
    '--precision fp32'
).split()


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('sets') / 'dots')


def test_folds_test_every_person_once(source, tmp_path):
    line = ['folds', str(source), '--out', str(tmp_path), '--folds', '3', *SCALE]
    main([*line, '--variations', '2', '--workers', '1'])
    assert len(list((tmp_path / 'cuts').iterdir())) == 3
    result = json.loads((tmp_path / 'folds.json').read_text())
    tested = [name for fold in result['folds'] for name in fold['identities']]
    assert sorted(tested) == sorted(set(tested))
    assert len(tested) == 6
    assert result['together']['trials'] == 72
    assert sum(fold['trials'] for fold in result['folds']) == 72


def test_corpus_without_an_expression_is_tested_by_the_others(source, tmp_path):
    calm = write_view(tmp_path / 'calm', [source], lambda e: None if e['label'] == 'angry' else e)
    main(['folds', str(calm), '--out', str(tmp_path), '--folds', '3', *SCALE])
    result = json.loads((tmp_path / 'folds.json').read_text())
    assert result['together']['trials'] == 60
    assert 0 <= result['together']['mean_recall'] <= 1


def test_folds_share_no_person_between_splits():
    parts = parts_of({'s{}'.format(k): {'happy'} for k in range(11)}, 4)
    assert sorted(len(part) for part in parts) == [2, 3, 3, 3]
    splits = {name: split_of(name, parts[1], parts[2]) for part in parts for name in part}
    assert [sum(s == kind for s in splits.values()) for kind in ('test', 'val')] == [3, 3]


def test_more_folds_than_people_are_refused():
    with pytest.raises(DataError, match='got 2 people'):
        parts_of({'a': {'happy'}, 'b': {'happy'}, 'c': set()}, 3)


def test_every_part_has_somebody_who_shows_something():
    shown = {'s{}'.format(k): {'happy'} if k < 5 else set() for k in range(12)}
    parts = parts_of(shown, 5)
    assert sorted(len(part) for part in parts) == [2, 2, 2, 3, 3]
    assert sorted(sum(parts, [])) == sorted(shown)
    assert all(any(shown[name] for name in part) for part in parts)


def test_recording_without_a_face_shows_nothing(tmp_path):
    clips = [clip for clip in make_set(1) if clip.entry['label'] in ('happy', 'neutral')]
    sad = make_clip(0, 'train', 'someone', 'sad', np.random.default_rng(0))
    nowhere = replace(sad.truth, box=np.full_like(sad.truth.box, np.nan))
    write_shard(tmp_path / 'a.h5', [*clips, replace(sad, truth=nowhere)])
    assert shown_by(usable([tmp_path])) == {
        name: {'happy'} for name in ('train0', 'val0', 'test0')
    }


def test_every_fold_learns_what_few_people_show():
    people = 's0 s1 s2 s3 s4 s5 s6 s7 s8'.split()
    for first in range(7):  # whoever they are, together or apart in the first draw
        shown = {name: {'happy'} for name in people}
        for name in people[first : first + 3]:
            shown[name].add('scared')
        parts = parts_of(shown, 4)
        assert sorted(sum(parts, [])) == people
        for k in range(4):
            learnt = [name for part in (parts * 2)[k + 2 : k + 4] for name in part]
            assert any('scared' in shown[name] for name in learnt)


def test_folds_that_cannot_learn_everything_are_refused():
    shown = {'a': {'happy', 'sad'}, 'b': {'happy'}, 'c': {'happy'}}
    with pytest.raises(DataError, match='learn happy, sad: ask for more folds'):
        parts_of(shown, 3)


def test_expressions_that_too_few_show_are_left_out_and_told(source, tmp_path):
    def choose(entry):
        is_rare = entry['label'] == 'scared'
        return None if is_rare and entry['identity'] not in ('train0', 'test1') else entry

    corpus = write_view(tmp_path / 'corpus', [source], choose)
    assert rare(shown_by(usable([corpus]))) == {'scared': 2}
    main(['folds', str(corpus), '--out', str(tmp_path), '--folds', '3', *SCALE])
    result = json.loads((tmp_path / 'folds.json').read_text())
    assert result['left_out'] == {'scared': 2}
    assert result['together']['trials'] == 60
