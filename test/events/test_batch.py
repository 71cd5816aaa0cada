import pickle

import numpy as np
import pytest
from naive import random_batch, random_cuts

from cs3d_ros.events import EventBatch, concatenate


def columns(x=(0, 1), y=(0, 1), t=(5, 5), p=(0, 1)):
    return [
        np.array(x, np.uint16),
        np.array(y, np.uint16),
        np.array(t, np.int64),
        np.array(p, np.uint8),
    ]


def test_equal_times_are_legal():
    assert len(EventBatch(*columns(), 2, 2)) == 2


@pytest.mark.parametrize(
    'change, words',
    [
        ({'x': (0, 2)}, r'event 1 at \(2, 1\) lies outside the sensor of 2 x 2'),
        ({'y': (7, 1)}, r'event 0 at \(0, 7\)'),
        ({'t': (5, 4)}, 'time goes back at event 1'),
        ({'p': (0, 2)}, 'polarity of event 1 is 2'),
    ],
)
def test_event_that_breaks_a_rule_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        EventBatch(*columns(**change), 2, 2)


def test_wrong_dtype_is_refused_by_name():
    x, y, t, p = columns()
    with pytest.raises(ValueError, match='t must be an array of int64, got float64'):
        EventBatch(x, y, t.astype(float), p, 2, 2)


def test_columns_of_unequal_length_are_refused():
    x, y, t, p = columns()
    with pytest.raises(ValueError, match='x must have shape'):
        EventBatch(x[:1], y, t, p, 2, 2)


@pytest.mark.parametrize('size', [(0, 5), (5, -1), (70_000, 5)])
def test_impossible_sensor_is_refused(size):
    with pytest.raises(ValueError, match='a sensor has'):
        EventBatch.empty(*size)


def test_columns_cannot_be_written():
    batch = random_batch(1)
    with pytest.raises(ValueError):
        batch.x[0] = 1
    with pytest.raises(AttributeError):
        batch.x = batch.y


def test_slice_is_a_view():
    batch = random_batch(1)
    assert np.shares_memory(batch[3:9].t, batch.t)


def test_between_takes_the_start_and_leaves_the_end():
    batch = EventBatch(*columns(x=(0, 1, 2), y=(0, 0, 0), t=(10, 20, 30), p=(0, 0, 1)), 3, 1)
    assert batch.between(10, 30).t.tolist() == [10, 20]


def test_strided_columns_are_taken_as_they_read():
    x, y, t, p = (np.repeat(column, 2) for column in columns())
    assert EventBatch(x[::2], y[::2], t[::2], p[::2], 2, 2).x.tolist() == [0, 1]


@pytest.mark.parametrize('seed', range(5))
def test_cut_and_joined_events_are_the_same(seed):
    batch = random_batch(seed)
    assert concatenate(random_cuts(batch, seed)) == batch


def test_batches_of_different_sensors_do_not_join():
    with pytest.raises(ValueError, match='different sensors'):
        concatenate([EventBatch.empty(2, 2), EventBatch.empty(3, 2)])


def test_batches_out_of_order_do_not_join():
    with pytest.raises(ValueError, match='time goes back'):
        concatenate([random_batch(1, start_ns=10**9), random_batch(1)])


def test_pickled_batch_is_equal():
    batch = random_batch(1)
    assert pickle.loads(pickle.dumps(batch)) == batch
