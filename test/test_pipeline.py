import numpy as np
import pytest
from naive import random_batch, random_cuts

from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch, concatenate, open_recording
from cs3d_ros.events.periods import LONGEST_GAP_NS
from cs3d_ros.face import Box
from cs3d_ros.inference import EXPRESSIONS, Bundle, EmotionSettings
from cs3d_ros.pipeline import Preprocessor, Recognizer, recognize
from cs3d_ros.simulator import open_source

PERIOD_NS = 33_333_333
ROI = Box(100.0, 60.0, 120.0, 140.0)
BUNDLE = Bundle(
    path='none',
    schema=1,
    kind='clip',
    name='none',
    classes=EXPRESSIONS,
    unchanged=True,
    clip_frames=16,
    size=112,
    period_ns=PERIOD_NS,
    step=32,
    margin=1.15,
    hop_frames=2,
    state=(),
    training={},
    accuracy={},
)


EVERYTHING = CleaningSettings(
    hot_pixels=True,
    flicker_hz=100.0,
    refractory_ns=1_000_000,
    background_activity_ns=5_000_000,
    rate_hz=300_000.0,
)


class Mean:
    """An engine whose answer is plain to see: happiness is the mean of the clip's last frame."""

    bundle = BUNDLE

    def __init__(self):
        self.clips = []

    def run(self, clip, state=()):
        self.clips.append(clip)
        happy = float(np.clip(0.5 + clip[0, 0, -1].mean(), 0, 1))
        return np.array([0, happy, 0, 0, 0, 0, 0, 1 - happy], np.float32), state


def frames_of(batches, roi=ROI, cleaning=CleaningSettings()):
    preprocessor = Preprocessor(346, 260, BUNDLE, roi, cleaning)
    frames = []
    for batch in batches:
        frames += preprocessor.push(batch)
    return frames, preprocessor


@pytest.mark.parametrize('roi', [ROI, None])
@pytest.mark.parametrize('seed', range(3))
def test_frames_do_not_depend_on_how_the_events_are_cut(shared_data, seed, roi):
    path = shared_data / 'videos' / 'talking' / 'lbbc2a.mpg'
    with open_source(path) as recording:
        batch = concatenate(recording.batches())
        width, height = recording.width, recording.height

    def run(parts):
        preprocessor = Preprocessor(width, height, BUNDLE, roi)
        return [frame for part in parts for frame in preprocessor.push(part)]

    whole, parts = run([batch]), run(random_cuts(batch, seed, 40))
    assert [frame.t_ns for frame in whole] == [frame.t_ns for frame in parts]
    assert any(frame.image is not None for frame in whole)
    for a, b in zip(whole, parts):
        assert (a.image is None) == (b.image is None)
        assert a.events == b.events
        assert a.image is None or np.array_equal(a.image, b.image)


def test_periods_end_at_multiples_of_the_period():
    frames, _ = frames_of([random_batch(1, start_ns=10**9, span_ns=5 * PERIOD_NS)])
    assert all(frame.t_ns % PERIOD_NS == 0 for frame in frames)
    assert set(np.diff([frame.t_ns for frame in frames])) == {PERIOD_NS}


def test_every_event_is_counted_once():
    batch = random_batch(1, 5000, span_ns=10 * PERIOD_NS)
    frames, preprocessor = frames_of([batch])
    frames += preprocessor.advance(12 * PERIOD_NS)
    assert sum(frame.events for frame in frames) == len(batch)
    assert preprocessor.counts.events == len(batch)


def test_period_without_events_is_a_frame_too():
    late = random_batch(2, 10, start_ns=6 * PERIOD_NS, span_ns=1000)
    frames, _ = frames_of([random_batch(1, 10, span_ns=1000), late])
    assert [frame.events for frame in frames] == [10, 0, 0, 0, 0, 0]
    assert all((frame.image == 128).all() for frame in frames[1:])


def test_clock_alone_closes_periods():
    _, preprocessor = frames_of([random_batch(1, 10, span_ns=1000)])
    assert preprocessor.advance(PERIOD_NS - 1) == []
    assert len(preprocessor.advance(3 * PERIOD_NS)) == 3
    assert preprocessor.advance(3 * PERIOD_NS) == []


def test_nothing_before_the_first_event():
    assert Preprocessor(346, 260, BUNDLE).advance(10**12) == []


def test_late_events_are_dropped_and_counted():
    batch = random_batch(1, 100, span_ns=PERIOD_NS)
    _, preprocessor = frames_of([batch])
    preprocessor.advance(2 * PERIOD_NS)
    preprocessor.push(batch)
    assert preprocessor.counts.late == 100


def test_clock_that_went_back_restarts_the_chain():
    _, preprocessor = frames_of([random_batch(1, start_ns=10**11)])
    frames = preprocessor.push(random_batch(1))
    assert preprocessor.counts.restarts == 1
    assert frames[0].t_ns == PERIOD_NS


def test_leap_of_time_costs_neither_frames_nor_memory():
    _, preprocessor = frames_of([random_batch(1)])
    frames = preprocessor.push(random_batch(1, start_ns=2 * 10**18))
    assert preprocessor.counts.restarts == 1
    assert len(frames) < 5
    assert len(preprocessor.advance(3 * 10**18)) < LONGEST_GAP_NS // PERIOD_NS


def test_events_before_a_long_silence_are_in_a_frame():
    late = random_batch(2, 10, start_ns=12 * 10**10, span_ns=1000)
    frames, preprocessor = frames_of([random_batch(1, 10, span_ns=1000), late])
    assert [(frame.t_ns, frame.events) for frame in frames] == [(PERIOD_NS, 10)]
    frames = preprocessor.advance(late.t[0] + PERIOD_NS)
    assert [frame.events for frame in frames] == [10]
    assert preprocessor.counts.restarts == 1


def test_other_sensor_size_is_refused():
    with pytest.raises(ValueError, match='make a new Preprocessor'):
        Preprocessor(10, 10, BUNDLE).push(random_batch(1))


def seen(frames):
    """Return all that frames with a face hold, to be compared."""
    return [(frame.t_ns, frame.image.tolist(), frame.events, frame.cleaned) for frame in frames]


@pytest.mark.parametrize('seed', range(3))
def test_cleaned_frames_do_not_depend_on_how_the_events_are_cut(seed):
    batch = random_batch(seed, 150_000, span_ns=10 * PERIOD_NS)
    whole, _ = frames_of([batch], cleaning=EVERYTHING)
    parts, _ = frames_of(random_cuts(batch, seed, 40), cleaning=EVERYTHING)
    assert all(frame.events and frame.cleaned for frame in whole)
    assert seen(parts) == seen(whole)


def test_frames_are_those_of_a_stream_that_was_cleaned_before():
    settings = EVERYTHING._replace(rate_hz=0.0)
    batch = random_batch(1, 100_000, span_ns=10 * PERIOD_NS)
    kept = Cleaner(346, 260, settings).push(batch)
    expected, _ = frames_of([kept])
    frames, _ = frames_of([batch], cleaning=settings)
    assert [frame.t_ns for frame in frames] == [frame.t_ns for frame in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, expected))
    assert 0 < sum(frame.events for frame in frames) < len(batch) / 2


def test_limit_of_the_rate_holds_in_every_period():
    batch = random_batch(1, 100_000, span_ns=10 * PERIOD_NS)
    cleaning = CleaningSettings(rate_hz=30_030.0)
    frames, preprocessor = frames_of([batch], cleaning=cleaning)
    frames += preprocessor.advance(10 * PERIOD_NS)
    assert [frame.events for frame in frames] == [1000] * 10
    assert preprocessor.counts.cleaned.rate == len(batch) - 10 * 1000


def test_what_cleaning_drops_is_counted_by_filter():
    batch = random_batch(1, 150_000, span_ns=10 * PERIOD_NS)
    frames, preprocessor = frames_of([batch], cleaning=EVERYTHING)
    frames += preprocessor.advance(10 * PERIOD_NS)
    counts = preprocessor.counts
    assert counts.events == len(batch)
    assert sum(frame.cleaned for frame in frames) == sum(counts.cleaned)
    assert sum(frame.events for frame in frames) == len(batch) - sum(counts.cleaned)
    assert min(counts.cleaned.refractory, counts.cleaned.background_activity) > 0


def test_time_goes_on_while_all_events_are_dropped():
    rows = np.arange(400)
    alone = EventBatch(
        np.full(400, 7, np.uint16),
        np.full(400, 9, np.uint16),
        rows * 50_000_000,
        np.ones(400, np.uint8),
        346,
        260,
    )
    cleaning = CleaningSettings(background_activity_ns=10_000_000)
    frames, preprocessor = frames_of([alone], cleaning=cleaning)
    assert len(frames) == alone.t[-1] // PERIOD_NS
    assert preprocessor.counts.restarts == 0
    assert {frame.events for frame in frames} == {0}


@pytest.mark.parametrize('start_ns', [0, 10**12])
def test_cleaning_begins_anew_with_the_clock(start_ns):
    first = random_batch(2, 50_000, start_ns=10**11, span_ns=80_000_000)  # ends in a period
    batch = random_batch(1, 50_000, start_ns=start_ns)
    frames, preprocessor = frames_of([first], cleaning=EVERYTHING)
    again = seen(preprocessor.push(batch))
    assert preprocessor.counts.restarts == 1
    expected = seen(frames_of([batch], cleaning=EVERYTHING)[0])
    assert again[-len(expected) :] == expected  # a leap ahead closes a period first


def test_whoever_watches_gets_the_kept_events():
    kept = []
    batch = random_batch(1, 50_000)
    cleaning = CleaningSettings(background_activity_ns=5_000_000)
    preprocessor = Preprocessor(346, 260, BUNDLE, ROI, cleaning, kept.append)
    preprocessor.push(batch)
    assert concatenate(kept) == Cleaner(346, 260, cleaning).push(batch)


def noise_image(seed):
    return np.random.default_rng(seed).integers(0, 256, (112, 112)).astype(np.uint8)


def test_emotion_comes_every_hop():
    recognizer = Recognizer(Mean())
    answers = [recognizer.push(noise_image(i), i * PERIOD_NS) for i in range(8)]
    assert [answer is not None for answer in answers] == [False, True] * 4
    assert answers[1].t_ns == PERIOD_NS


def test_network_reads_the_newest_frames_scaled():
    engine = Mean()
    recognizer = Recognizer(engine)
    images = [noise_image(i) for i in range(20)]
    for i, image in enumerate(images):
        recognizer.push(image, i * PERIOD_NS)
    clip = engine.clips[-1]
    assert clip.shape == (1, 1, 16, 112, 112)
    assert clip.dtype == np.float32
    assert np.allclose(clip[0, 0] * 128 + 128, images[4:])


def test_still_face_costs_no_inference():
    engine = Mean()
    recognizer = Recognizer(engine)
    still = np.full((112, 112), 128, np.uint8)
    for i in range(10):
        recognizer.push(still, i * PERIOD_NS)
    assert engine.clips == []
    assert recognizer.skipped == 5


def test_gap_in_the_times_begins_a_new_clip():
    engine = Mean()
    recognizer = Recognizer(engine)
    for i in list(range(16)) + [40, 41]:
        recognizer.push(noise_image(i), i * PERIOD_NS)
    assert (engine.clips[-1][0, 0, :14] == 0).all()
    assert (engine.clips[-1][0, 0, 14:] != 0).any()


@pytest.mark.parametrize('first, last', [(0, 1), (0, 20), (8, 15), (12, 34)])
def test_missing_frames_equal_frames_without_a_face(first, last):
    said, silent = Recognizer(Mean()), Recognizer(Mean())
    for i in range(50):
        image = None if first <= i < last else noise_image(i)
        a = said.push(image, i * PERIOD_NS)
        b = silent.push(image, i * PERIOD_NS) if image is not None else None
        if image is not None:
            assert (a is None) == (b is None)
            assert a is None or a.probabilities == pytest.approx(b.probabilities, abs=1e-12)
            assert a is None or a.expression == b.expression


def test_time_that_goes_back_forgets_the_face():
    recognizer = Recognizer(Mean())
    recognizer.push(np.full((112, 112), 255, np.uint8), 10**12)
    for i in range(12):
        first = recognizer.push(np.full((112, 112), 255, np.uint8), 10**12 + i * PERIOD_NS)
    recognizer.push(noise_image(1), 0)
    after = recognizer.push(noise_image(2), PERIOD_NS)
    assert after.t_ns == PERIOD_NS
    assert first is None or after.confidence != first.confidence


class Counting:
    """An engine with a memory: how many frames it has seen since it began."""

    bundle = BUNDLE._replace(
        kind='stream',
        unchanged=False,
        clip_frames=1,
        hop_frames=1,
        state=('seen',),
        state_shapes=((1, 1),),
        settling=EmotionSettings(rate_hz=1e6, dwell_s=0.0, prior_neutral=0.9),
    )

    def __init__(self):
        self.seen = []

    def run(self, frame, state=()):
        assert frame.shape == (1, 1, 112, 112)
        seen = (state[0] if state else 0) + np.ones((1, 1), np.float32)
        self.seen.append(int(seen[0, 0]))
        return np.array([0.2, 0.8, 0, 0, 0, 0, 0], np.float32), (seen,)


def test_stream_answers_every_frame_from_the_first():
    recognizer = Recognizer(Counting())
    emotions = [recognizer.push(noise_image(i), i * PERIOD_NS) for i in range(5)]
    assert [emotion.t_ns for emotion in emotions] == [i * PERIOD_NS for i in range(5)]
    assert emotions[-1].expression == 'happy'


@pytest.mark.parametrize('lost', [None, 'gap', 'back', 'reset'])
def test_stream_begins_anew_where_the_face_was_lost(lost):
    engine = Counting()
    recognizer = Recognizer(engine)
    for i in range(5):
        recognizer.push(noise_image(i), (10 + i) * PERIOD_NS)
    if lost == 'reset':
        recognizer.reset()
    elif lost is None:
        assert recognizer.push(None, 15 * PERIOD_NS).t_ns == 15 * PERIOD_NS
    recognizer.push(noise_image(6), {'gap': 20, 'back': 3}.get(lost, 16) * PERIOD_NS)
    assert engine.seen == [1, 2, 3, 4, 5, 1]


def test_stream_at_rest_is_stamped_on():
    class Resting(Counting):
        def run(self, frame, state=()):
            return super().run(frame)

    recognizer = Recognizer(Resting())
    still = np.full((112, 112), 128, np.uint8)
    emotions = [recognizer.push(still, i * PERIOD_NS) for i in range(30)]
    assert [emotion.t_ns for emotion in emotions] == [i * PERIOD_NS for i in range(30)]
    assert (recognizer.inferences, recognizer.skipped) == (2, 28)
    assert emotions[-1].probabilities == pytest.approx([0.2, 0.8, 0, 0, 0, 0, 0])


def test_bundle_tells_how_to_settle_unless_told_otherwise():
    def first_answer(settings):
        recognizer = Recognizer(Counting(), settings)
        recognizer.push(noise_image(1), 0)
        return recognizer.push(noise_image(1), PERIOD_NS).expression

    assert first_answer(None) == 'happy'
    assert first_answer(Counting.bundle.settling._replace(dwell_s=1.0)) == 'neutral'


def test_what_the_bundle_calls_unproven_is_not_named():
    class Unproven(Counting):
        bundle = Counting.bundle._replace(unproven=('happy',))

    recognizer = Recognizer(Unproven())
    emotions = [recognizer.push(noise_image(i), i * PERIOD_NS) for i in range(30)]
    assert {emotion.expression for emotion in emotions} == {'neutral'}


@pytest.mark.parametrize('image', [np.zeros((10, 10), np.uint8), np.zeros((112, 112))])
def test_image_of_another_kind_is_refused(image):
    with pytest.raises(ValueError, match='event frame must be'):
        Recognizer(Mean()).push(image, 0)


def test_recording_without_a_face_has_none(shared_data):
    path = shared_data / 'recordings' / 'davis346_bench.aedat4'
    with open_recording(path) as recording:
        answers = list(recognize(recording, Mean()))
    assert not any(frame.track for frame, _ in answers)
    assert sum(frame.events for frame, _ in answers) == 117_667


def test_recording_with_a_roi_is_recognized_from_the_start(shared_data):
    path = shared_data / 'recordings' / 'davis346_bench.aedat4'
    with open_recording(path) as recording:
        answers = list(recognize(recording, Mean(), roi=ROI))
    assert all(frame.image is not None for frame, _ in answers)
    assert sum(emotion is not None for _, emotion in answers) == len(answers) // 2


def test_recording_is_recognized_with_what_cleaning_leaves(shared_data):
    path = shared_data / 'recordings' / 'davis346_bench.aedat4'
    cleaning = CleaningSettings(background_activity_ns=5_000_000)
    with open_recording(path) as recording:
        kept = Cleaner(346, 260, cleaning).push(concatenate(recording.batches()))
        frames = [frame for frame, _ in recognize(recording, Mean(), ROI, cleaning=cleaning)]
    assert sum(frame.events for frame in frames) == len(kept)
    assert sum(frame.cleaned for frame in frames) == 117_667 - len(kept) > 0
