"""What is acted in a clip, and the truth about it."""

from dataclasses import replace

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
    blendshapes_of,
)
from training.data.acting.hands import HANDS
from training.data.acting.nuisances import MOUTH_PLAY, NUISANCES, choose_nuisances
from training.data.acting.performance import FRAME_RATE_HZ, act_out, perform
from training.data.acting.timeline import (
    LONG_HOLD_S,
    MICRO_RISE_S,
    Segment,
    draw_timeline,
    envelope,
)
from training.data.world import ACTED, CONDITIONS, Ingredients

STANDARD, MICRO = CONDITIONS['standard'], CONDITIONS['micro']
ALL = Ingredients()
SEEDS = st.integers(0, 2**32 - 1)
SHOWN = st.lists(st.sampled_from(ACTED[1:]), max_size=4).map(tuple)
PATHS = ('units', 'gaze', 'pose', 'head_mm', 'body_mm', 'intensity')
BLINK, LID_UNITS = COLUMN[45], [COLUMN[n] for n in (5, 7, 45, 61, 62, 63, 64)]


def performed(expressions, seed, *left_out, condition=STANDARD):
    rng = np.random.default_rng(seed)
    return perform(expressions, rng, condition, ALL.without(*left_out))


def differing(one, two):
    """Return the names of the paths in which two performances of one length differ."""
    return {name for name in PATHS if not np.array_equal(getattr(one, name), getattr(two, name))}


def timeline(expressions, seed, condition=STANDARD, ingredients=ALL, duration_s=None):
    rng = np.random.default_rng(seed)
    return draw_timeline(expressions, rng, condition, ingredients, duration_s)


@given(SHOWN, SEEDS, st.sampled_from(sorted(CONDITIONS)))
def test_all_that_is_performed_stays_bounded(expressions, seed, condition):
    act = performed(expressions, seed, condition=CONDITIONS[condition])
    assert act.units.min() >= 0.0 and act.units.max() <= 1.0
    assert max(float(v.max()) for v in act.weights.values()) <= MAX_WEIGHT + 1e-6
    assert min(float(v.min()) for v in act.weights.values()) >= MIN_WEIGHT - 1e-6
    assert act.weights.get('jawOpen', np.zeros(1)).max() <= JAW_LIMIT + 1e-6
    assert np.abs(act.pose).max() < 75.0 and np.isfinite(act.pose).all()
    assert np.abs(act.head_mm).max() < 150.0


@given(SHOWN, SEEDS)
def test_all_paths_have_a_value_per_frame(expressions, seed):
    act = performed(expressions, seed)
    lengths = {len(getattr(act, name)) for name in PATHS + ('expression', 'action_units')}
    lengths |= {len(v) for v in act.weights.values()} | {len(h.mm) for h in act.hands}
    assert lengths == {len(act)}


@given(SHOWN, SEEDS)
def test_the_units_told_are_those_that_move_the_face(expressions, seed):
    act = performed(expressions, seed)
    wanted = {name: np.zeros(len(act)) for name in act.weights}
    for number, (_, shapes) in ACTION_UNITS.items():
        for name, weight in shapes.items():
            left, right = blendshapes_of(name)
            for side, column in enumerate((left, right)):
                part = weight * act.units[:, COLUMN[number], side]
                if column in wanted:
                    wanted[column] += part / 2 if left == right else part
                else:
                    assert not part.any()
    if 'mouthClose' in wanted:
        wanted['mouthClose'] *= wanted.get('jawOpen', 0.0)
    for name, values in act.weights.items():
        limit = JAW_LIMIT if name == 'jawOpen' else MAX_WEIGHT
        assert values == pytest.approx(np.clip(wanted[name], MIN_WEIGHT, limit), abs=1e-6)


@given(SHOWN, SEEDS)
def test_a_unit_counts_as_its_stronger_side(expressions, seed):
    act = performed(expressions, seed)
    assert act.action_units.shape == (len(act), len(ACTION_UNITS))
    assert act.action_units == pytest.approx(
        np.maximum(act.units[..., 0], act.units[..., 1]), abs=1e-6
    )


@given(SEEDS)
def test_a_neutral_clip_is_neutral_throughout(seed):
    act = performed((), seed)
    assert set(act.expression) == {'neutral'} and not act.intensity.any() and not act.segments


def test_to_be_asked_for_neutral_is_to_be_asked_for_nothing():
    assert not differing(performed(('neutral',), 5), performed((), 5))


@given(SEEDS)
def test_a_neutral_clip_holds_a_near_miss(seed):
    act = performed((), seed)
    assert act.nuisances and set(act.nuisances) <= set(NUISANCES)


@pytest.mark.parametrize('name', NUISANCES)
def test_a_near_miss_moves_something_and_is_labelled_neutral(name):
    act, rest = (act_out([], 4.0, n, np.random.default_rng(2)) for n in ([name], []))
    assert set(act.expression) == {'neutral'} and not act.intensity.any()
    assert differing(act, rest) or act.hands


def peak(act, number):
    return float(act.action_units[:, COLUMN[number]].max())


@pytest.mark.parametrize(
    'name, numbers',
    [
        ('yawn', (27, 43)),
        ('squint', (7,)),
        ('chew', (8, 26)),
        ('lick lips', (28,)),
        ('pucker', (18,)),
        ('mouth sideways', (30,)),
        ('speak with brows', (2, 26)),
        ('sneeze', (9, 43)),
        ('rubs eye', (43,)),
    ],
)
def test_a_near_miss_tells_the_units_it_moves(name, numbers):
    acts = [act_out([], 4.0, [name], np.random.default_rng(seed)) for seed in range(6)]
    assert all(max(peak(act, n) for act in acts) > 0.3 for n in numbers)


def test_chewing_lips_stay_shut():
    act = act_out([], 4.0, ['chew'], np.random.default_rng(4))
    jaw, lips = act.weights['jawOpen'], act.weights['mouthClose']
    assert jaw.max() > 0.08 and lips[jaw > 0.08] == pytest.approx(jaw[jaw > 0.08], rel=0.15)


@given(st.sampled_from(ACTED[1:]), SEEDS)
def test_the_intensity_is_that_of_the_segment_at_its_apex(expression, seed):
    act = performed((expression,), seed, 'cut_in')
    segment = act.segments[0]
    inside = np.arange(len(act)) / FRAME_RATE_HZ
    inside = (inside >= segment.apex_start_s) & (inside <= segment.offset_start_s)
    assert act.intensity[inside] == pytest.approx(min(1.0, segment.intensity))
    assert act.intensity[0] == act.intensity[-1] == 0.0


@given(SHOWN, SEEDS)
def test_the_target_is_the_expression_from_onset_to_offset_and_neutral_else(expressions, seed):
    act = performed(expressions, seed)
    t = np.arange(len(act)) / FRAME_RATE_HZ
    wanted = ['neutral'] * len(act)
    for segment in act.segments:
        for k in np.flatnonzero((t >= segment.onset_start_s) & (t < segment.offset_start_s)):
            wanted[k] = segment.expression
    assert act.expression == wanted


@given(SHOWN, SEEDS)
def test_segments_tell_what_was_shown(expressions, seed):
    segments = performed(expressions, seed).segments
    assert tuple(s.expression for s in segments) == expressions
    assert all(s.recipe and 0.0 < s.intensity <= 1.1 and not s.micro for s in segments)


@given(SHOWN, SEEDS, st.sampled_from([STANDARD, MICRO]))
def test_segments_follow_each_other_within_the_clip(expressions, seed, condition):
    segments, duration = timeline(expressions, seed, condition)
    moments = [m for s in segments for m in (s.onset_start_s, s.apex_start_s, s.offset_start_s)]
    assert moments == sorted(moments)
    assert all(s.offset_start_s < s.offset_end_s <= duration for s in segments)


def test_the_second_of_two_comes_as_the_first_goes_or_after_stillness():
    pairs = [timeline(('happy', 'angry'), seed)[0] for seed in range(60)]
    gaps = [second.onset_start_s - first.offset_end_s for first, second in pairs]
    straight = [
        (second.onset_start_s, second.apex_start_s)
        == pytest.approx((first.offset_start_s, first.offset_end_s))
        for first, second in pairs
    ]
    assert 15 < sum(straight) < 45
    assert all(near or gap >= 0.2 - 1e-9 for near, gap in zip(straight, gaps))


@pytest.mark.parametrize('expression', ACTED)
def test_ordinary_clips_take_2_to_4_seconds(expression):
    shown = () if expression == 'neutral' else (expression,)
    plain = ALL.without('long_holds', 'cut_in')
    lengths = [timeline(shown, seed, ingredients=plain)[1] for seed in range(200)]
    assert 1.5 < min(lengths) and 2.0 < np.median(lengths) < 3.6 and max(lengths) < 4.5


def test_sequences_take_up_to_10_seconds():
    shown = ('sad', 'proud', 'happy', 'sad')
    longest = max(timeline(shown, seed)[1] for seed in range(200))
    assert longest == pytest.approx(10.0)


@given(SHOWN, SEEDS, st.floats(1.5, 12.0))
def test_a_clip_is_as_long_as_asked(expressions, seed, duration_s):
    segments, duration = timeline(expressions, seed, duration_s=duration_s)
    act = perform(expressions, np.random.default_rng(seed), duration_s=duration_s)
    assert duration == pytest.approx(duration_s) and len(act) == round(60 * duration)
    assert not segments or segments[-1].offset_end_s <= duration + 1e-9


@given(SEEDS)
def test_a_longer_clip_rests_longer_and_moves_no_slower(seed):
    plain = ALL.without('cut_in', 'long_holds')
    short = timeline(('happy',), seed, ingredients=plain)[0][0]
    long = timeline(('happy',), seed, ingredients=plain, duration_s=6.0)[0][0]
    assert long.offset_end_s - long.onset_start_s == pytest.approx(
        short.offset_end_s - short.onset_start_s
    )


@given(st.sampled_from(ACTED[1:]), SEEDS)
def test_a_micro_expression_is_over_within_half_a_second(expression, seed):
    act = performed((expression,), seed, condition=MICRO)
    (segment,) = act.segments
    assert 0.1 < segment.offset_end_s - segment.onset_start_s < 0.5 and segment.micro
    assert segment.apex_start_s - segment.onset_start_s <= MICRO_RISE_S
    assert act.intensity.max() <= segment.intensity < 0.5


@given(SEEDS, st.floats(0.0, 0.6), st.floats(0.75, 1.0), st.floats(0.7, 1.5))
def test_an_envelope_rises_stays_and_falls_and_is_nothing_outside(seed, late, done, skew):
    segment = timeline(('happy',), seed)[0][0]
    t = np.linspace(segment.onset_start_s - 1.0, segment.offset_end_s + 1.0, 400)
    shown = envelope(t, segment, (late, done), (late, done), (skew, skew))
    before, after = t <= segment.apex_start_s, t >= segment.offset_start_s
    outside = (t < segment.onset_start_s) | (t > segment.offset_end_s)
    assert (np.diff(shown[before]) >= 0).all() and (np.diff(shown[after]) <= 0).all()
    assert not shown[outside].any()
    assert shown[~before & ~after] == pytest.approx(1.0)


@given(SHOWN, SEEDS)
def test_the_same_seed_gives_the_same_performance(expressions, seed):
    one, two = performed(expressions, seed), performed(expressions, seed)
    assert not differing(one, two) and one.segments == two.segments
    assert one.nuisances == two.nuisances and len(one.hands) == len(two.hands)


@given(SHOWN, SEEDS)
def test_head_habits_move_nothing_but_head_and_body(expressions, seed):
    one, two = (performed(expressions, seed, *out) for out in ((), ('head_habits',)))
    assert differing(one, two) <= {'pose', 'head_mm', 'body_mm'}


@given(SEEDS)
def test_heads_follow_a_sudden_expression_slowly(seed):
    segment = Segment('disgusted', '', 1.0, 1.15, 3.0, 3.2)
    still, moved = (
        act_out([segment], 4.5, [], np.random.default_rng(seed), STANDARD, ALL.without(*out))
        for out in (('head_habits',), ())
    )
    forward = np.abs(moved.head_mm[:, 2] - still.head_mm[:, 2])
    at = int(1.15 * FRAME_RATE_HZ)
    assert forward[at] <= 0.2 * forward.max()


@given(SHOWN, SEEDS)
def test_timed_blinks_move_nothing_but_lids(expressions, seed):
    one, two = (performed(expressions, seed, *out) for out in ((), ('timed_blinks',)))
    moved = np.flatnonzero((one.units != two.units).any(axis=(0, 2)))
    assert differing(one, two) <= {'units'} and set(moved) <= set(LID_UNITS)


@given(SHOWN, SEEDS)
def test_without_free_recipes_time_and_nuisances_stay(expressions, seed):
    one, two = (performed(expressions, seed, *out) for out in ((), ('free_recipes',)))
    assert [replace(s, recipe='') for s in one.segments] == [
        replace(s, recipe='') for s in two.segments
    ]
    assert one.nuisances == two.nuisances and one.expression == two.expression


@given(SHOWN, SEEDS, st.sampled_from([('mouth_play', MOUTH_PLAY), ('hands', tuple(HANDS))]))
def test_a_group_of_nuisances_can_be_left_out_without_changing_the_others(expressions, seed, kind):
    name, group = kind
    whole, less = (
        choose_nuisances(expressions, np.random.default_rng(seed), STANDARD, ingredients)
        for ingredients in (ALL, ALL.without(name))
    )
    assert less == [n for n in whole if n not in group]


@given(SHOWN, SEEDS)
def test_hands_that_only_pass_change_nothing_of_the_face(expressions, seed):
    one, two = (performed(expressions, seed, *out) for out in ((), ('hands',)))
    if 'rubs eye' not in one.nuisances:
        assert not differing(one, two)
    assert not two.hands


@given(st.sampled_from(ACTED[1:]), SEEDS)
def test_a_clip_cut_in_is_the_same_timeline_started_later(expression, seed):
    (cut,), length = timeline((expression,), seed)
    (whole,), full = timeline((expression,), seed, ingredients=ALL.without('cut_in'))
    gone = whole.onset_start_s - cut.onset_start_s
    assert gone >= 0.0 and full - length == pytest.approx(gone)
    assert (cut.apex_start_s, cut.offset_start_s, cut.offset_end_s) == pytest.approx(
        (whole.apex_start_s - gone, whole.offset_start_s - gone, whole.offset_end_s - gone)
    )


def test_some_clips_start_in_the_middle_of_an_expression():
    acts = [performed(('happy',), seed) for seed in range(120)]
    inside = [a for a in acts if a.segments[0].onset_start_s < 0.0]
    assert 5 < len(inside) < 30
    assert all(a.intensity[0] > 0.0 and a.expression[0] == 'happy' for a in inside)


def long_holds():
    found = (performed(('angry',), seed, 'cut_in') for seed in range(120))
    return [act for act in found if act.segments[0].is_long]


def test_some_expressions_are_held_for_long():
    held = [a.segments[0].offset_start_s - a.segments[0].apex_start_s for a in long_holds()]
    assert 3 < len(held) < 25
    assert all(LONG_HOLD_S[0] <= s <= LONG_HOLD_S[1] for s in held)


def test_a_long_hold_hardly_moves():
    for act in long_holds():
        segment = act.segments[0]
        a, b = (int(60 * s) for s in (segment.apex_start_s + 0.3, segment.offset_start_s - 0.2))
        assert np.abs(np.diff(act.pose[a:b], axis=0)).max() < 0.05  # degrees a frame
        assert np.ptp(act.pose[a:b], axis=0).max() < 1.5


def test_without_long_holds_all_is_shorter():
    plain = ALL.without('long_holds')
    assert max(timeline(('angry',), seed, ingredients=plain)[1] for seed in range(200)) < 4.5


@pytest.mark.parametrize('name', HANDS)
def test_a_hand_comes_from_out_of_sight_and_reaches_the_face(name):
    act = act_out([], 4.0, [name], np.random.default_rng(3))
    (hand,) = act.hands
    seen = ~np.isnan(hand.mm[:, 0])
    assert seen.any() and np.array_equal(seen, ~np.isnan(hand.roll_deg))
    assert np.nanmax(hand.mm[:, 1]) > -130.0
    assert np.nanmin(hand.mm[hand.mm[:, 1] > -130.0, 2]) > 60.0
    assert name == 'chin on hand' or (not seen.all() and np.nanmin(hand.mm[:, 1]) < -400.0)


def test_half_of_the_occluded_clips_have_a_hand():
    acts = [performed((), seed, condition=CONDITIONS['occlusion']) for seed in range(80)]
    assert 25 < sum(bool(a.hands) for a in acts) < 55


def test_people_blink_15_to_20_times_a_minute():
    lids = [act_out([], 10.0, [], np.random.default_rng(s)).units[:, BLINK, 0] for s in range(60)]
    starts = sum(int(((lid[1:] > 0.3) & (lid[:-1] <= 0.3)).sum()) for lid in lids)
    assert 13 <= starts / (60 * 10 / 60) <= 21


def test_gaze_turns_eyes_and_lids_alike():
    act = performed((), 11)
    free = act.units[:, BLINK, 0] == 0
    down = np.maximum(act.gaze[:, 1], 0) / 30.0
    assert act.units[free, COLUMN[64], 0] == pytest.approx(down[free])


def test_the_pose_condition_turns_heads_further():
    def spread(name):
        acts = [performed((), seed, condition=CONDITIONS[name]) for seed in range(40)]
        return np.std([a.pose.mean(axis=0)[0] for a in acts])

    assert spread('pose') > 2 * spread('standard')


def test_a_straight_sequence_never_passes_through_a_neutral_face():
    first = Segment('happy', '', 0.5, 1.0, 1.6, 2.1)
    second = Segment('surprised', '', 1.6, 2.1, 2.8, 3.3)
    act = act_out([first, second], 4.0, [], np.random.default_rng(1))
    change = act.action_units[int(60 * 1.6) : int(60 * 2.1)].sum(axis=1)
    assert change.min() > 0.4 * min(change[0], change[-1]) > 0.4
