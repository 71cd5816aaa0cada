import json

import pytest

pytest.importorskip('torch')
import torch

from cs3d_ros import Cs3dError
from training import signs
from training.checkpoints import DivergedError
from training.models import build
from training.signs import GradientWatch, below_reference, costs_differ, read_reference, silence


def report(accuracy, clips=40, **others):
    score = {'expressions': {'accuracy': accuracy}}
    return {'model': 'c3d', 'test': score, 'test_clips': clips, 'test_identities': 9, **others}


def epochs(*norms):
    watch = GradientWatch()
    found = []
    for some in norms:
        for norm in some:
            watch.note(norm)
        found.append(watch.end_epoch(beta=16.0, learning_rate=2e-3)[1])
    return found


def test_gradients_that_rise_tenfold_explode():
    calm, loud = epochs([0.9, 1.0, 1.1], [11.0, 12.0, 9.0])
    assert calm is None
    assert 'gradients explode' in loud and '--beta (now 16.0)' in loud


def test_gradients_without_a_number_explode():
    assert epochs([float('nan'), float('inf'), 1.0])[0]


def test_gradients_that_stay_without_a_number_end_the_training():
    watch = GradientWatch()
    for _ in range(3):
        assert [watch.note(norm) for norm in [float('inf')] * 9 + [1.0]] == [False] * 9 + [True]
    with pytest.raises(DivergedError, match='16 steps in a row.*--precision fp32'):
        for _ in range(16):
            watch.note(float('nan'))


def test_one_long_gradient_is_no_explosion():
    assert epochs([1.0, 900.0, 1.0], [2.0, 800.0, 1.0]) == [None, None]


@pytest.mark.parametrize('theta, is_silent', [(0.0, False), (9.0, True)])
def test_silent_layers_are_named(theta, is_silent):
    torch.manual_seed(0)
    network = build('cs3d', width=0.0625, head='gap', size=48, theta=theta)
    text = silence(network, torch.randn(2, 1, 16, 48, 48))
    assert bool(text) == is_silent
    assert not text or 'theta is too large' in text


def test_costs_of_every_step_of_the_ladder_are_those_counted():
    assert costs_differ(build('cs3d', width=0.125, size=48)) is None


def test_costs_that_differ_are_told(monkeypatch):
    network = build('cs3d', width=0.125, size=48)
    monkeypatch.setattr(signs, 'measured_macs', lambda n: 2 * signs.count(n).macs)
    assert 'multiply-adds' in costs_differ(network)


def test_reference_that_is_better_names_the_residual():
    assert 'residual may be missing' in below_reference(report(0.7), report(0.8))
    assert below_reference(report(0.8), report(0.8)) is None


def test_reference_of_other_data_does_not_compare():
    assert 'do not compare' in below_reference(report(0.9), report(0.8, clips=50))


def test_reference_of_as_many_other_clips_does_not_compare():
    own = report(0.7, test_digest='1')
    assert 'on others: they do not compare' in below_reference(own, report(0.8, test_digest='2'))
    assert 'residual' in below_reference(own, report(0.8, test_digest='1'))
    assert 'residual' in below_reference(own, report(0.8))  # of an older version


def test_reference_that_is_no_report_is_refused(tmp_path):
    (tmp_path / 'report.json').write_text(json.dumps({'test': {}}))
    for path in (tmp_path / 'report.json', tmp_path / 'nothing.json'):
        with pytest.raises(Cs3dError, match=r'is no report\.json'):
            read_reference(path)
