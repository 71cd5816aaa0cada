"""Action units, recipes, and how people vary them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.acting.action_units import (
    ACTION_UNITS,
    COLUMN,
    JAW_LIMIT,
    MAX_WEIGHT,
    MIN_WEIGHT,
    blendshape_weights,
    blendshapes_of,
    reconcile,
)
from training.data.acting.expressions import MICRO_INTENSITY, MICRO_UNITS, draw_apex
from training.data.acting.recipes import BLENDS, RECIPES
from training.data.world import ACTED

RECIPE_IDS = ['{}: {}'.format(r.expression, r.name) for r in RECIPES]
NUMBERS = st.sampled_from(sorted(ACTION_UNITS))


@pytest.fixture(scope='module')
def blendshapes(shared_data):
    with np.load(shared_data / 'ict_facekit' / 'ict_face_light.npz') as packed:
        return set(packed['expr_names'])


def levels_of(values):
    """Return (1, A, 2) of {number: level or (left, right)}."""
    units = np.zeros((1, len(ACTION_UNITS), 2))
    for number, level in values.items():
        units[0, COLUMN[number]] = level
    return units


@pytest.mark.parametrize('expression', ACTED)
def test_every_expression_has_recipes_whose_shares_make_one(expression):
    shares = [r.share for r in RECIPES if r.expression == expression]
    assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize('expression', ACTED)
def test_every_expression_has_a_recipe_of_the_textbook(expression):
    assert any(r.expression == expression and not r.free for r in RECIPES)


@pytest.mark.parametrize('recipe', RECIPES, ids=RECIPE_IDS)
def test_a_recipe_names_units_that_exist_at_levels_of_0_to_1(recipe):
    assert set(recipe.units) <= set(ACTION_UNITS) and set(recipe.one_sided) <= set(recipe.units)
    assert all(0.0 < level <= 1.0 for level in recipe.units.values())


@pytest.mark.parametrize('recipe', RECIPES, ids=RECIPE_IDS)
def test_the_units_in_a_recipes_name_are_those_it_shows(recipe):
    numbers = {int(n) for n in recipe.name.split(', ')[-1].split('+') if n.isdigit()}
    of_the_head = {51, 53, 54, 57, 64}
    assert numbers - of_the_head <= set(recipe.units)


def test_the_gaze_and_the_head_are_no_units_of_a_recipe():
    assert not any({61, 62, 63, 64}.intersection(r.units) for r in RECIPES)


@pytest.mark.parametrize('number', ACTION_UNITS)
def test_a_unit_moves_blendshapes_that_the_face_has(number, blendshapes):
    moved = {column for name in ACTION_UNITS[number][1] for column in blendshapes_of(name)}
    assert moved and moved <= blendshapes


def test_the_corrective_of_the_jaw_is_in_no_recipe():
    owners = {n for n, (_, shapes) in ACTION_UNITS.items() if 'mouthClose' in shapes}
    assert owners == {8} and not any(owners.intersection(r.units) for r in RECIPES)


def test_the_corrective_of_the_jaw_does_nothing_to_a_shut_jaw():
    assert not blendshape_weights(levels_of({8: 1.0}))['mouthClose'].any()


def test_lips_shut_over_an_open_jaw_follow_it():
    weights = blendshape_weights(levels_of({8: 1.0, 26: 0.5}))
    assert weights['mouthClose'] == pytest.approx(weights['jawOpen'])


def test_a_unit_of_one_side_moves_that_side_only():
    weights = blendshape_weights(levels_of({14: (0.8, 0.0)}))
    assert (weights['mouthDimple_L'][0], weights['mouthDimple_R'][0]) == pytest.approx((0.8, 0.0))


def test_the_left_eye_turns_out_and_the_right_eye_in_to_look_left():
    weights = blendshape_weights(levels_of({61: 1.0}))
    assert set(weights) == {'eyeLookOut_L', 'eyeLookIn_R'}


@given(st.dictionaries(NUMBERS, st.tuples(*[st.floats(-0.5, 3.0)] * 2)))
def test_whatever_comes_together_the_mesh_bears_it(values):
    units = reconcile(levels_of(values))
    weights = blendshape_weights(units)
    assert units.min() >= 0.0 and units.max() <= 1.0
    assert all(MIN_WEIGHT - 1e-6 <= w[0] <= MAX_WEIGHT + 1e-6 for w in weights.values())
    assert weights.get('jawOpen', np.zeros(1))[0] <= JAW_LIMIT + 1e-6


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_more_the_lids_shut_the_less_wide_they_are(shut, wide):
    units = reconcile(levels_of({45: shut, 5: wide}))
    less = reconcile(levels_of({45: 0.5 * shut, 5: wide}))
    assert units[0, COLUMN[5], 0] <= less[0, COLUMN[5], 0] <= wide


def test_shut_lids_are_not_wide():
    assert reconcile(levels_of({45: 1.0, 5: 1.0}))[0, COLUMN[5]].max() == 0.0


def test_units_that_do_not_touch_each_other_stay_as_they_are():
    asked = levels_of({1: 0.7, 12: (0.5, 0.6), 25: 0.3})
    assert np.array_equal(reconcile(asked), asked)


@pytest.mark.parametrize('expression', ACTED)
def test_drawn_levels_stay_within_0_and_1(expression):
    rng = np.random.default_rng(0)
    drawn = np.array([draw_apex(expression, rng).levels for _ in range(200)])
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0


def test_two_people_show_the_same_expression_differently():
    rng = np.random.default_rng(0)
    assert not np.array_equal(draw_apex('happy', rng).levels, draw_apex('happy', rng).levels)


def test_a_foreign_expression_is_refused():
    with pytest.raises(ValueError, match='bored'):
        draw_apex('bored', np.random.default_rng(0))


def test_contempt_is_of_one_side():
    rng = np.random.default_rng(0)
    dimples = [draw_apex('contempt', rng).levels[COLUMN[14]] for _ in range(50)]
    assert all((min(d), max(d) > 0.2) == (0.0, True) for d in dimples)


def test_contempt_is_of_either_side():
    rng = np.random.default_rng(0)
    sides = {int(draw_apex('contempt', rng).levels[COLUMN[14]].argmax()) for _ in range(20)}
    assert sides == {0, 1}


def test_the_proud_raise_their_heads_and_the_embarrassed_sink_them():
    rng = np.random.default_rng(0)
    proud, shy = ([draw_apex(e, rng) for _ in range(20)] for e in ('proud', 'embarrassed'))
    assert all(a.head_deg[1] < -3 and a.chest_mm > 2 for a in proud)
    assert all(a.head_deg[1] > 2 and a.gaze_deg[1] > 5 for a in shy)


def test_without_free_recipes_only_the_textbook_is_drawn():
    free = {r.name for r in RECIPES if r.free}
    rng = np.random.default_rng(0)
    drawn = {draw_apex(e, rng, free_recipes=False).recipe for e in ACTED for _ in range(60)}
    assert not any(name.split(';')[0] in free for name in drawn)


def test_recipes_are_drawn_as_often_as_their_shares_say():
    rng = np.random.default_rng(0)
    drawn = [draw_apex('sad', rng).recipe.split(';')[0] for _ in range(1500)]
    assert all(
        drawn.count(r.name) / 1500 == pytest.approx(r.share, abs=0.04)
        for r in RECIPES
        if r.expression == 'sad'
    )


@pytest.mark.parametrize('expression', ['happy', 'sad', 'surprised'])
def test_what_is_of_the_textbook_stays_when_free_recipes_are_left_out(expression):
    free = {r.name for r in RECIPES if r.free}
    for seed in range(40):
        whole, book = (
            draw_apex(expression, np.random.default_rng(seed), with_free)
            for with_free in (True, False)
        )
        if whole.recipe.split(';')[0] not in free:
            assert whole.recipe == book.recipe and np.array_equal(whole.levels, book.levels)
        assert whole.intensity == book.intensity


def test_some_expressions_are_mixed_with_another():
    rng = np.random.default_rng(0)
    mixed = [a for a in (draw_apex('angry', rng) for _ in range(200)) if '; some' in a.recipe]
    mates = {a.recipe.rsplit(' ', 1)[-1] for a in mixed}
    assert 10 < len(mixed) < 45 and mates <= set(BLENDS['angry'])


@pytest.mark.parametrize('expression', ACTED[1:])
def test_a_micro_expression_is_faint_and_shows_few_units(expression):
    rng = np.random.default_rng(0)
    for apex in (draw_apex(expression, rng, micro=True) for _ in range(40)):
        assert MICRO_INTENSITY[0] <= apex.intensity <= MICRO_INTENSITY[1]
        assert 1 <= np.count_nonzero(apex.levels.max(axis=1)) <= MICRO_UNITS
        assert apex.levels.max() < 0.85
