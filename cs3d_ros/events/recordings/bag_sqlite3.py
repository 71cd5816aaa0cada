"""One ``.db3`` file of a rosbag2 bag, read and written."""

import os
import sqlite3
from typing import Collection, Iterator, Optional, Tuple
from urllib.parse import quote

from cs3d_ros.events.recordings.recording import RecordingError

# Version 4 of the schema, as ROS 2 Iron and later write it; Humble reads it as well.
# Source: ros2/rosbag2, rosbag2_storage_sqlite3.
SCHEMA = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(
    id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
    serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
    type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(
    id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
    encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES (4, 'cs3d_ros');
"""


class SqliteFile:
    """
    One SQLite file of a bag; attributes and methods are those of ``McapFile``, types not needed.

    A recorder that was killed leaves a whole database, up to its last transaction.
    """

    def __init__(self, path: str, types: Collection[str] = ()):
        self._path = path
        self.progress, self.is_cut = 0.0, False
        # without a log of transactions beside it, nothing is written, also where nothing can be
        mode = 'mode=ro' if os.path.exists(path + '-wal') else 'mode=ro&immutable=1'
        try:
            self._database = _connect(path, mode, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            self._check()
            query = "SELECT name, id, type FROM topics WHERE serialization_format = 'cdr'"
            rows = list(self._rows(query))
        except RecordingError:
            self.close()
            raise
        self.topics = {str(name): str(kind) for name, _, kind in rows}
        self._numbers = {str(name): number for name, number, _ in rows}

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _damaged(self, error):
        return RecordingError('{} is no whole bag: SQLite says: {}'.format(self._path, error))

    def _rows(self, query, *values):
        try:
            yield from self._database.execute(query, values)
        # a damaged text or number escapes as what Python makes of it
        except (sqlite3.Error, ValueError, OverflowError, MemoryError) as error:
            raise self._damaged(error) from error

    def _check(self):
        """A view could be an endless query, where a bag has tables."""
        kinds = dict(self._rows('SELECT name, type FROM sqlite_master'))
        if (kinds.get('topics'), kinds.get('messages')) != ('table', 'table'):
            raise RecordingError(
                '{} is an SQLite database, but no bag of ROS 2: it has no tables topics and '
                'messages'.format(self._path)
            )

    def count(self, topic: str) -> int:
        """Return the number of messages of a topic."""
        query = 'SELECT COUNT(*) FROM messages WHERE topic_id = ?'
        ((count,),) = self._rows(query, self._numbers[topic])
        return count

    def messages(self, topic: str, start_ns: Optional[int] = None) -> Iterator[Tuple[int, bytes]]:
        """Yield (log time, bytes) of the messages of a topic in the order of their log time."""
        self.progress = 0.0
        ((first_ns, last_ns),) = self._rows('SELECT MIN(timestamp), MAX(timestamp) FROM messages')
        query = (
            'SELECT timestamp, data FROM messages WHERE topic_id = ? AND timestamp >= ? '
            'ORDER BY timestamp, id'
        )
        start_ns = first_ns if start_ns is None else start_ns
        for log_ns, data in self._rows(query, self._numbers[topic], start_ns):
            if not isinstance(log_ns, int) or not isinstance(data, bytes):
                raise self._damaged('a message is no bytes with a time')
            self.progress = (log_ns - first_ns) / max(1, last_ns - first_ns)
            yield log_ns, data

    def last_message(self, topic: str) -> Optional[Tuple[int, bytes]]:
        """Return (log time, bytes) of the last message of a topic."""
        query = (
            'SELECT timestamp, data FROM messages WHERE topic_id = ? '
            'ORDER BY timestamp DESC, id DESC LIMIT 1'
        )
        for row in self._rows(query, self._numbers[topic]):
            return row
        return None


def _connect(path, mode, **options):
    # as bytes: a name may be in another encoding than the locale's, which sqlite3 does not take
    uri = 'file:{}?{}'.format(quote(os.fsencode(os.path.abspath(path))), mode)
    return sqlite3.connect(uri, uri=True, **options)


def write(path: str, topic: str, kind: str, definition: str, messages) -> None:
    """Write a file with one topic of (log time, bytes)."""
    database = _connect(path, 'mode=rwc')
    try:
        database.executescript(SCHEMA)
        # without QoS and hash rosbag2 takes its defaults, and the hash of the type installed
        database.execute("INSERT INTO topics VALUES (1, ?, ?, 'cdr', '', '')", (topic, kind))
        database.execute(
            "INSERT INTO message_definitions VALUES (1, ?, 'ros2msg', ?, '')", (kind, definition)
        )
        insert = 'INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)'
        for message in messages:
            database.execute(insert, message)
        database.commit()
    except sqlite3.Error as error:
        raise OSError('SQLite says: {}'.format(error)) from error
    finally:
        database.close()
