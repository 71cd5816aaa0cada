import numpy as np
import pytest

pytest.importorskip('torch')

from fabricated import APEX, MS, OFFSET, ONSET, OVER, make_set, write_set

from cs3d_ros.events import FrameSettings
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.data.clips import write_shard
from training.sequences import Sequence, SequenceSet, cut_sequence
from training.targets import AT_REST, UNCHANGED, Transition, changing_at, transitions_of, worn_at
from training.windows import Clip, Window, cut_window

HAPPY, SAD = EXPRESSIONS.index('happy'), EXPRESSIONS.index('sad')
PERIOD = FrameSettings().period_ns
SMILE = [Transition(600 * MS, 1000 * MS, HAPPY), Transition(1800 * MS, 2200 * MS, AT_REST)]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = write_set(tmp_path_factory.mktemp('set') / 'set', 1)
    return SequenceSet(folder, 'train', frames=40)


def clip_with(transitions, end_ns=2800 * MS):
    return Clip(None, np.array([0, end_ns]), np.zeros((2, 4)), 'someone', transitions)


def test_a_face_wears_what_it_moves_to_from_the_middle_of_the_move_on():
    times = np.array([500, 790, 810, 1500, 1990, 2010, 2700]) * MS
    worn, _ = worn_at(SMILE, times, 0)
    assert worn.tolist() == [AT_REST, AT_REST, HAPPY, HAPPY, HAPPY, AT_REST, AT_REST]


def test_the_middle_of_a_move_is_in_doubt():
    times = np.array([600, 690, 710, 890, 910]) * MS
    _, weight = worn_at(SMILE, times, 0, doubt_weight=0.25)
    assert weight.tolist() == [1, 1, 0.25, 0.25, 1]


def test_what_is_worn_from_before_the_beginning_weighs_nothing_until_it_changes():
    times = np.array([1100, 1700, 2100, 2500]) * MS
    worn, weight = worn_at(SMILE, times, 1000 * MS)
    assert weight.tolist() == [0, 0, 1, 1]
    assert worn[2:].tolist() == [AT_REST, AT_REST]


def test_direct_move_is_learnt_even_from_an_apex_that_nobody_saw_begin():
    moves = [*SMILE[:1], Transition(1800 * MS, 2200 * MS, SAD)]
    worn, weight = worn_at(moves, np.array([1500, 2150]) * MS, 1200 * MS)
    assert (worn[1], weight.tolist()) == (SAD, [0, 1])


def test_onset_seen_from_before_its_middle_is_learnt():
    _, weight = worn_at(SMILE, np.array([1100 * MS]), 790 * MS)
    assert weight.tolist() == [1]


def test_neutral_face_weighs_from_its_first_frame_on():
    worn, weight = worn_at(SMILE, np.array([2400 * MS]), 2300 * MS)
    assert (worn.tolist(), weight.tolist()) == ([AT_REST], [1])


def test_expression_without_a_label_weighs_nothing_until_the_face_is_back():
    moves = [Transition(600 * MS, 1000 * MS, None), SMILE[1]]
    worn, weight = worn_at(moves, np.array([500, 650, 1500, 2150]) * MS, 0)
    assert weight.tolist() == [1, 0, 0, 1]
    assert worn[3] == AT_REST


def test_changing_is_the_label_of_the_window_that_ends_there():
    times = np.array([500, 700, 900, 1100, 1250, 1600]) * MS
    labels, clear = changing_at(SMILE, times, 533 * MS, 0)
    assert clear.tolist() == [1, 0, 1, 1, 0, 1]
    assert labels[clear > 0].tolist() == [UNCHANGED, HAPPY, HAPPY, UNCHANGED]


def test_time_that_stands_still_moves_what_comes_after_it():
    clip = clip_with(SMILE)
    sequence = Sequence(clip, 0.0, 60, pause_at=40, pause=30)
    moves = sequence.transitions(PERIOD)
    assert moves[0] == SMILE[0]
    assert moves[1].start_ns == 1800 * MS + 30 * PERIOD
    worn, weight, changing, clear = sequence.targets(PERIOD, 0.0)
    assert len(worn) == 90
    assert (worn[40:70] == HAPPY).all() and (weight[40:70] == 1).all()
    assert (changing[55:70] == UNCHANGED).all() and clear[55:70].all()


def test_blank_stretch_before_an_apex_tells_nothing_of_it():
    sequence = Sequence(clip_with(SMILE), float(1200 * MS), 30, pause_at=0, pause=10)
    worn, weight, *_ = sequence.targets(PERIOD, 0.0)
    switch = 10 + int(800 * MS / PERIOD)
    assert not weight[:switch].any()
    assert (worn[switch + 4 :] == AT_REST).all() and weight[switch + 4 :].all()


def test_blank_stretch_before_a_running_onset_moves_all_of_it():
    sequence = Sequence(clip_with(SMILE), float(700 * MS), 30, pause_at=0, pause=10)
    onset = sequence.transitions(PERIOD)[0]
    assert onset.start_ns == -100 * MS + 10 * PERIOD
    assert onset.end_ns - onset.start_ns == 400 * MS


def test_faster_pace_brings_targets_nearer():
    sequence = Sequence(clip_with(SMILE), 0.0, 60, pace=1.25)
    assert sequence.transitions(PERIOD)[0] == (480 * MS, 800 * MS, HAPPY)


def test_frames_of_a_sequence_are_those_of_windows(data):
    clip = data.clips[2]
    frames = cut_sequence(Sequence(clip, 0.0, 40))
    window = cut_window(Window(clip, 30 * PERIOD, UNCHANGED))
    np.testing.assert_array_equal(frames[14:30], window)


def test_still_stretch_is_blank_and_the_rest_follows_it(data):
    clip = data.clips[2]
    plain = cut_sequence(Sequence(clip, 0.0, 40))
    held = cut_sequence(Sequence(clip, 0.0, 40, pause_at=35, pause=20))
    assert (held[35:55] == 128).all()
    np.testing.assert_array_equal(held[:35], plain[:35])
    np.testing.assert_array_equal(held[55:], plain[35:])


def test_batch_has_a_target_per_frame_and_is_decided_by_its_seed(data):
    examples = data.batch(9, np.random.default_rng(4))
    again = data.batch(9, np.random.default_rng(4))
    assert examples.frames.shape == (9, 40, 112, 112)
    assert all(column.shape == (9, 40) for column in examples[1:])
    for one, other in zip(examples, again):
        np.testing.assert_array_equal(one, other)


def test_expressions_that_no_split_shows_are_not_asked_for(tmp_path):
    write_shard(tmp_path / 'a.h5', [c for c in make_set(1) if c.entry['label'] != 'sad'])
    examples = SequenceSet(tmp_path, 'train', frames=40).batch(8, np.random.default_rng(0))
    assert set(examples.worn.ravel()) == set(range(len(EXPRESSIONS))) - {SAD}


def test_drawn_sequences_show_what_they_are_drawn_for(data):
    rng = np.random.default_rng(0)
    for label in range(UNCHANGED):
        shown = 0
        for _ in range(10):
            worn, weight, *_ = data.draw_sequence(label, rng).targets(PERIOD, 0.25)
            shown += bool(((worn == label) & (weight > 0)).any())
        assert shown == 10


def test_sequences_begin_anywhere_and_time_stands_still_only_where_nothing_moves(data):
    rng = np.random.default_rng(1)
    sequences = [data.draw_sequence(HAPPY, rng) for _ in range(60)]
    starts = [s.start_ns for s in sequences]
    assert min(starts) == 0 and max(starts) > 600 * MS
    paused = [s for s in sequences if s.pause]
    assert 5 < len(paused) < 40
    for s in paused:
        at_ns = s.start_ns + s.pause_at * PERIOD
        assert not s.pause_at or not (ONSET < at_ns < APEX or OFFSET < at_ns < OVER)
        assert s.frames == 40


def test_near_misses_are_neutral_all_along(data):
    calm = next(clip for clip in data.clips if not clip.transitions)
    worn, weight, changing, clear = Sequence(calm, 0.0, 40).targets(PERIOD, 0.25)
    assert (worn == AT_REST).all() and weight.all()
    assert (changing == UNCHANGED).all() and clear.all()


def test_clip_shorter_than_a_sequence_is_filled_up(tmp_path):
    data = SequenceSet(write_set(tmp_path / 'set', 1), 'train', frames=120)
    sequence = data.draw_sequence(HAPPY, np.random.default_rng(0))
    assert sequence.frames == 120
    assert sequence.recorded < 90


def test_fixed_sequences_are_whole_clips_in_the_periods_of_the_robot(data):
    sequences = data.fixed_sequences()
    assert len(sequences) == len(data.clips)
    for sequence in sequences:
        assert sequence.start_ns % PERIOD == 0
        end_ns = sequence.start_ns + sequence.frames * PERIOD
        assert 0 <= sequence.clip.end_ns - end_ns < PERIOD


def test_moments_are_the_first_periods_after_transitions(data):
    sequences = data.fixed_sequences()
    moments = data.moments(sequences, np.random.default_rng(0))
    smiles = [k for k, s in enumerate(sequences) if s.clip.transitions]
    for number in smiles:
        frames = [frame for n, frame in moments if n == number]
        assert {-(-end // PERIOD) - 1 for end in (APEX, OVER)} <= set(frames)


def test_segments_of_a_clip_that_begins_in_an_expression_are_told_from_before_it():
    segment = {
        'expression': 'happy',
        'onset_start_ns': -500 * MS,
        'apex_start_ns': -100 * MS,
        'offset_start_ns': 800 * MS,
        'offset_end_ns': 1200 * MS,
    }
    worn, weight = worn_at(transitions_of([segment]), np.array([500, 1150]) * MS, 0)
    assert (worn.tolist(), weight.tolist()) == ([HAPPY, AT_REST], [0, 1])
