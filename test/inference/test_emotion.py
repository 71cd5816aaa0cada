import numpy as np
import pytest

from cs3d_ros.inference import EXPRESSIONS, EmotionFilter, EmotionSettings

SECOND = 1_000_000_000
UNCHANGED = len(EXPRESSIONS)


def sure(index):
    """Return an estimate that is certain of one output."""
    return np.eye(UNCHANGED + 1)[index]


def play(settle, estimates, hz=15, start_ns=0):
    """Return the emotions of estimates at an even rate."""
    return [
        settle.push(estimate, start_ns + i * SECOND // hz) for i, estimate in enumerate(estimates)
    ]


def make(**settings):
    return EmotionFilter(EXPRESSIONS, True, EmotionSettings(**settings))


def test_nothing_seen_is_neutral():
    assert play(make(), [sure(UNCHANGED)] * 5)[-1].expression == 'neutral'


@pytest.mark.parametrize('index', range(1, 7))
def test_an_onset_is_named(index):
    emotion = play(make(), [sure(UNCHANGED)] * 5 + [sure(index)] * 10)[-1]
    assert emotion.expression == EXPRESSIONS[index]
    assert emotion.confidence > 0.9


def test_still_face_keeps_its_expression_for_seconds():
    emotions = play(make(), [sure(1)] * 10 + [sure(UNCHANGED)] * 60)
    assert emotions[-1].expression == 'happy'


def test_offset_leads_back_to_neutral_within_a_second():
    emotions = play(make(), [sure(1)] * 10 + [sure(UNCHANGED)] * 20 + [sure(0)] * 15)
    assert emotions[-1].expression == 'neutral'


def test_missed_offset_is_forgotten_in_the_end():
    emotions = play(make(forget_s=5.0), [sure(1)] * 10 + [sure(UNCHANGED)] * 300)
    assert emotions[-1].expression == 'neutral'


def test_estimate_that_doubts_a_change_changes_little():
    weak = 0.5 * sure(UNCHANGED) + 0.5 * sure(3)
    *_, after = play(make(), [sure(UNCHANGED)] + [weak] * 8)
    assert after.expression == 'neutral'


def test_prior_is_shifted_by_bayes():
    # the network's even odds of 8 outputs become 0.2 / 7 each against 0.8
    settle = make(change_prior=0.2, rate_hz=1e9, forget_s=1e9)
    settle.push(sure(UNCHANGED), 0)
    estimate = np.array([0, 0.9, 0, 0, 0, 0, 0, 0.1])
    change = 0.9 * 0.2 / 7 / (0.9 * 0.2 / 7 + 0.1 * 0.8)
    moved = 1 - np.exp(-1e9 * change * 1e-9)
    assert settle.push(estimate, 1).probabilities[1] == pytest.approx(
        0.05 + moved * 0.95, abs=1e-6
    )


def test_one_wrong_estimate_is_not_named():
    emotions = play(make(), [sure(UNCHANGED)] * 5 + [sure(4)] + [sure(UNCHANGED)] * 5)
    assert {emotion.expression for emotion in emotions} == {'neutral'}


@pytest.mark.parametrize('hz', [5, 10, 30])
def test_answer_does_not_depend_on_the_rate(hz):
    belief = play(make(), [sure(UNCHANGED)] + [sure(2)] * (hz // 5), hz)[-1].probabilities
    assert belief == pytest.approx(
        play(make(), [sure(UNCHANGED)] + [sure(2)] * 20, 100)[-1].probabilities, abs=0.01
    )


def test_belief_is_a_distribution():
    rng = np.random.default_rng(1)
    for emotion in play(make(), rng.dirichlet(np.ones(8) * 0.3, 100)):
        assert sum(emotion.probabilities) == pytest.approx(1.0)
        assert min(emotion.probabilities) >= 0


def test_valence_and_arousal_are_weighted_means():
    emotion = play(make(), [sure(1)] * 60)[-1]
    others = (1 - emotion.probabilities[1]) * 0.7
    assert emotion.valence == pytest.approx(0.81, abs=others + 0.02)
    assert emotion.arousal == pytest.approx(0.51, abs=others + 0.02)


def test_without_a_face_the_belief_returns_to_the_prior():
    settle = make()
    play(settle, [sure(1)] * 20)
    emotion = settle.push(None, 10 * SECOND)
    assert emotion.confidence == pytest.approx(EmotionSettings().prior_neutral, abs=0.01)


def test_one_long_absence_equals_many_short_ones():
    once, often = make(), make()
    play(once, [sure(1)] * 20)
    play(often, [sure(1)] * 20)
    for i in range(1, 11):
        last = often.push(None, 2 * SECOND + i * SECOND // 10)
    assert once.push(None, 3 * SECOND).probabilities == pytest.approx(last.probabilities)


@pytest.mark.parametrize('estimate', [[1.0], [np.nan] * 8, [0.0] * 8, [-1.0] + [1.0] * 7])
def test_numbers_that_are_no_estimate_are_refused(estimate):
    with pytest.raises(ValueError, match='probabilities'):
        make().push(estimate, 0)


@pytest.mark.parametrize(
    'change',
    [
        {'rate_hz': 0.0},
        {'rate_hz': np.inf},
        {'change_prior': 1.0},
        {'prior_neutral': 1.0},
        {'forget_s': 0.0},
        {'hold_s': np.nan},
        {'dwell_s': -0.1},
        {'least_confidence': 1.0},
    ],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match='{} must be '.format(*change)):
        make(**change)


def test_classes_without_neutral_are_refused():
    with pytest.raises(ValueError, match='neutral'):
        EmotionFilter(('happy', 'sad'), True)


@pytest.mark.parametrize('unproven', [('bored',), ('neutral',)])
def test_unproven_classes_must_be_other_classes(unproven):
    with pytest.raises(ValueError, match='unproven must be'):
        EmotionFilter(('neutral', 'happy'), True, unproven=unproven)


def states(unproven=(), **settings):
    settings = EmotionSettings(**settings)
    return EmotionFilter(('neutral', 'happy', 'sad'), False, settings, unproven)


def test_states_are_followed_smoothly():
    settle = states(rate_hz=5.0, prior_neutral=0.5)
    emotions = play(settle, [[0.1, 0.9, 0.0]] * 100, hz=50)
    elapsed = np.arange(100) / 50
    expected = 0.9 + (0.25 - 0.9) * np.exp(-5.0 * elapsed)  # from the prior
    assert [e.probabilities[1] for e in emotions] == pytest.approx(expected)


def test_states_are_named_and_left_again():
    settle = states()
    play(settle, [[0.1, 0.9, 0.0]] * 20)
    happy = settle.push([0.1, 0.9, 0.0], 2 * SECOND)
    assert (happy.expression, happy.confidence) == ('happy', pytest.approx(0.9, abs=0.01))
    assert play(settle, [[0.9, 0.1, 0.0]] * 10, start_ns=3 * SECOND)[-1].expression == 'neutral'


def test_states_are_not_forgotten_while_the_network_tells_them():
    settle = states(forget_s=0.5)
    assert play(settle, [[0.1, 0.9, 0.0]] * 100)[-1].confidence == pytest.approx(0.9, abs=0.001)


def test_weak_leader_is_not_named():
    estimate = [0.3, 0.45, 0.25]
    assert play(states(), [estimate] * 40)[-1].expression == 'happy'
    unsure = play(states(least_confidence=0.5), [estimate] * 40)[-1]
    assert (unsure.expression, unsure.confidence) == ('neutral', pytest.approx(0.3, abs=0.01))


def test_short_lead_is_not_named():
    settle = states(rate_hz=1e3, dwell_s=0.3)
    emotions = play(settle, [[1, 0, 0]] + [[0, 1, 0]] * 4 + [[1, 0, 0]] * 4 + [[0, 1, 0]] * 8)
    named = [emotion.expression for emotion in emotions]
    assert named == ['neutral'] * 14 + ['happy'] * 3  # 5 / 15 s after it took the lead


def test_unproven_class_is_never_named_but_told():
    emotion = play(states(unproven=('sad',)), [[0.05, 0.05, 0.9]] * 40)[-1]
    assert (emotion.expression, emotion.confidence) == ('neutral', pytest.approx(0.05, abs=0.01))
    assert emotion.probabilities[2] == pytest.approx(0.9, abs=0.01)
    assert emotion.valence > 0  # of the little happiness; sadness does not count


def test_unproven_class_is_named_to_who_wants_it():
    settle = states(unproven=('sad',), name_unproven=True)
    emotion = play(settle, [[0.05, 0.05, 0.9]] * 40)[-1]
    assert emotion.expression == 'sad'
    assert emotion.valence < -0.4


def test_state_that_never_ends_is_let_go_until_another_leads():
    settle = states(hold_s=2.0, rate_hz=50.0)
    named = [e.expression for e in play(settle, [[0.1, 0.9, 0.0]] * 150)]
    assert named.count('happy') == pytest.approx(30, abs=2)
    assert set(named[50:]) == {'neutral'}
    play(settle, [[0.9, 0.1, 0.0]] * 10, start_ns=11 * SECOND)
    again = play(settle, [[0.1, 0.9, 0.0]] * 10, start_ns=12 * SECOND)
    assert again[-1].expression == 'happy'


def test_onset_after_a_missed_offset_is_named_again():
    settle = make(hold_s=3.0, forget_s=1e3)
    held = play(settle, [sure(1)] * 10 + [sure(UNCHANGED)] * 60)
    assert held[-1].expression == 'neutral'
    assert play(settle, [sure(1)] * 10, start_ns=6 * SECOND)[-1].expression == 'happy'
