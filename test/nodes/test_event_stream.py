from moving import PERIOD_NS, START_NS, moving_events

from cs3d_ros.events import EventBatch, HotPixel, encode_event_array, encode_event_packet
from cs3d_ros.nodes.event_input import choose_type, installed_types, type_complaint
from cs3d_ros.nodes.event_stream import EventStream
from cs3d_ros.nodes.verdicts import Interval, Topic, hot_pixel_words, verdict

ARRAY, PACKET = 'dv_ros2_msgs/msg/EventArray', 'event_camera_msgs/msg/EventPacket'
USABLE = [ARRAY, PACKET]
NOW_NS = 1_700_000_000_000_000_000


def stream_of(type_name):
    stream = EventStream()
    stream.begin(type_name)
    return stream


def after(batch, periods):
    return EventBatch(
        batch.x, batch.y, batch.t + periods * PERIOD_NS, batch.p, batch.width, batch.height
    )


def test_first_type_that_can_be_had_is_taken():
    assert choose_type('', ['a/msg/A', PACKET, ARRAY], USABLE) == PACKET


def test_nothing_is_taken_before_anyone_publishes():
    assert choose_type('', [], USABLE) == ''
    assert choose_type('', ['std_msgs/msg/String'], USABLE) == ''


def test_present_type_is_kept_beside_another_and_without_any():
    assert choose_type(ARRAY, [PACKET, ARRAY], USABLE) == ARRAY
    assert choose_type(ARRAY, [], USABLE) == ARRAY


def test_type_follows_the_publishers():
    assert choose_type(ARRAY, [PACKET], USABLE) == PACKET


def test_all_is_well_with_one_type():
    assert type_complaint('/events', ARRAY, [ARRAY, ARRAY], USABLE) == ''
    assert type_complaint('/events', ARRAY, [], USABLE) == ''


def test_each_trouble_with_types_names_its_cure():
    two = type_complaint('/events', ARRAY, [PACKET, ARRAY], USABLE)
    assert 'carries event_camera_msgs/msg/EventPacket beside dv_ros2_msgs/msg/EventArray' in two
    foreign = type_complaint('/events', ARRAY, ['std_msgs/msg/String'], USABLE)
    assert 'carries std_msgs/msg/String, which holds no events' in foreign
    absent = type_complaint('/events', '', [PACKET], [ARRAY])
    assert 'event_camera_msgs is not installed' in absent


def test_types_whose_package_is_absent_are_left_out():
    assert installed_types([ARRAY, 'no_such_msgs/msg/EventArray', 'std_msgs/msg/Nothing']) == [
        ARRAY
    ]


def test_gap_in_the_numbers_of_the_driver_is_counted():
    stream = stream_of(PACKET)
    for seq in (4, 5, 9):
        stream.push(encode_event_packet(after(moving_events(1, 1), seq), seq=seq), NOW_NS)
    assert stream.counts()['messages_lost'] == 3


def test_gap_in_the_numbers_of_the_publisher_is_counted():
    stream = stream_of(ARRAY)
    for missing in (0, 7, 0):
        stream.push(encode_event_array(moving_events(1, 1)), NOW_NS, missing)
    assert stream.counts()['messages_lost'] == 7


def test_message_missing_in_both_numbers_counts_once():
    stream = stream_of(PACKET)
    stream.push(encode_event_packet(moving_events(1, 1), seq=4), NOW_NS)
    # Four on the way to the publisher, and two from there to here.
    stream.push(encode_event_packet(after(moving_events(1, 1), 9), seq=11), NOW_NS, 2)
    assert stream.counts()['messages_lost'] == 6


def test_numbers_of_several_drivers_tell_of_no_loss():
    stream = stream_of(PACKET)
    for seq in (4, 900, 5, 901):
        stream.push(encode_event_packet(after(moving_events(1, 1), seq), seq=seq), NOW_NS, None)
    assert stream.counts()['messages_lost'] == 0


def test_what_happens_again_and_again_is_one_notice():
    stream = stream_of(PACKET)
    for seq in (900, 4, 900, 4):
        stream.push(encode_event_packet(moving_events(1, 1), seq=seq), NOW_NS)
    assert [notice for notice in stream.take_notices() if 'began anew' in notice] == [
        'the clock of the events began anew: mapped to ROS time anew'
    ]


def test_counts_go_on_over_a_change_of_type():
    events = moving_events(2, 1)
    stream = stream_of(ARRAY)
    stream.push(encode_event_array(events), NOW_NS)
    stream.push(b'\0\1\0\0', NOW_NS)
    stream.begin(PACKET)
    stream.push(encode_event_packet(events), NOW_NS)
    counts = stream.counts()
    assert (counts['messages'], counts['malformed']) == (3, 1)
    assert counts['events'] == 2 * len(events)
    assert (counts['type_changes'], counts['clock_resets']) == (1, 0)


def test_new_stream_of_the_same_type_is_no_change():
    stream = stream_of(ARRAY)
    stream.begin(ARRAY)
    assert stream.counts()['type_changes'] == 0


def test_time_is_mapped_anew_with_a_new_type():
    stream = stream_of(ARRAY)
    stream.push(encode_event_array(moving_events(3, 1)), NOW_NS)
    stream.begin(PACKET)
    batch = stream.push(encode_event_packet(moving_events(3, 1)), NOW_NS + 5)
    assert stream.clock.to_ros(int(batch.t[-1])) == NOW_NS + 5


def test_malformed_message_is_told_once():
    stream = stream_of(ARRAY)
    assert stream.push(b'\0\1\0\0', NOW_NS) is None
    assert 'EventArray ends inside' in stream.take_fault()
    assert stream.take_fault() == ''


def test_wrong_stamp_is_said_once_in_a_stream():
    """dv-ros2 stamps with 1.7 s after 1970, whatever the time."""
    stream = stream_of(ARRAY)
    for periods in (0, 1):
        batch = after(moving_events(4, 1), periods)
        stream.push(encode_event_array(batch, 1_700_000_000, 'camera'), NOW_NS)
    assert ['header.stamp' in notice for notice in stream.take_notices()] == [True]
    stream.push(encode_event_array(after(moving_events(4, 1), 2), stamp_ns=0), NOW_NS)
    assert stream.take_notices() == []


def test_right_stamp_is_not_spoken_of():
    stream = stream_of(ARRAY)
    stream.push(encode_event_array(moving_events(4, 1), START_NS, 'camera'), NOW_NS)
    assert stream.take_notices() == []


def test_empty_frame_id_is_said_once_in_a_stream():
    stream = stream_of(ARRAY)
    for periods in (0, 1):
        batch = after(moving_events(4, 1), periods)
        stream.push(encode_event_array(batch, stamp_ns=int(batch.t[0])), NOW_NS)
    assert ['frame_id is empty' in notice for notice in stream.take_notices()] == [True]


def test_clock_that_begins_anew_is_told_and_mapped_anew():
    stream = stream_of(ARRAY)
    early = after(moving_events(4, 1), -(START_NS // PERIOD_NS))
    for batch in (moving_events(4, 1), early):
        stream.push(encode_event_array(batch, int(batch.t[0]), 'camera'), NOW_NS)
    assert stream.counts()['clock_resets'] == 1
    assert ['began anew' in notice for notice in stream.take_notices()] == [True]
    assert stream.clock.to_ros(int(early.t[-1])) == NOW_NS


def test_driver_that_numbers_anew_is_another_clock_though_its_times_go_on():
    stream = stream_of(PACKET)
    stream.push(encode_event_packet(moving_events(4, 1), seq=900), NOW_NS)
    batch = stream.push(encode_event_packet(after(moving_events(4, 1), 150), seq=0), NOW_NS + 7)
    assert stream.counts()['clock_resets'] == 1
    assert stream.clock.to_ros(int(batch.t[-1])) == NOW_NS + 7


def test_interval_tells_what_is_new_and_what_is_dropped():
    seconds = iter([0.0, 2.0, 4.0])
    interval = Interval(lambda: next(seconds))
    first = {'events': 100, 'time_reversed': 3, 'late': 1}
    values, new = interval.close(first, 0.5)
    assert new == first
    assert (values['dropped'], values['events_per_s'], values['load']) == (4, 50.0, 0.25)
    values, new = interval.close({'events': 110, 'time_reversed': 3, 'late': 1}, 0.5)
    assert new == {'events': 10, 'time_reversed': 0, 'late': 0}
    assert (values['events_per_s'], values['load']) == (5.0, 0.0)


def test_verdict_names_the_gravest_trouble_first():
    new = {'messages': 5, 'messages_lost': 2, 'late': 1}
    assert verdict(new, Topic('/events', 1, '', 'cut'))[1] == 'cut'
    assert verdict(new, Topic('/events', 1, 'two types'))[1] == 'two types'
    assert verdict(new, Topic('/events', 2))[1].startswith('2 publishers on /events')
    assert verdict(new, Topic('/events', 1))[1].startswith('2 messages lost on the way')
    assert verdict({'late': 1}, Topic('/events', 1))[1].startswith('1 events came after')


def test_verdict_without_trouble_tells_the_state():
    assert verdict({'messages': 5, 'face_frames': 1}, Topic('/e', 1)) == (False, 'face tracked')
    assert verdict({'messages': 5}, Topic('/e', 1)) == (False, 'no face')
    assert verdict({}, Topic('/e', 1)) == (False, 'no events arrive on /e')
    assert verdict({}, Topic('/e', 0))[0]


def test_few_hot_pixels_are_all_named():
    pixels = [HotPixel(12, 5, 400.0), HotPixel(3, 4, 60.4)]
    assert hot_pixel_words(pixels) == '2: (12, 5) 400 Hz, (3, 4) 60 Hz'
    assert hot_pixel_words([]) == '0'


def test_many_hot_pixels_are_counted_and_the_busiest_named():
    words = hot_pixel_words([HotPixel(x, 0, 900.0 - x) for x in range(40)])
    assert words.startswith('40: (0, 0) 900 Hz, ')
    assert words.endswith('(4, 0) 896 Hz, ...')
