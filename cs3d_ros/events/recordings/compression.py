"""LZ4 frames and Zstandard, without trusting what the packed data says of its size."""

import os

from cs3d_ros.events.recordings.recording import RecordingError

LARGEST = 1 << 27  # bytes once unpacked: 8 million events of AEDAT 4, ten times a busy second
PIECE = 1 << 20  # bytes unpacked before the limit is looked at
LARGEST_RATIO = 1000  # of a packed file; events pack to a third


class PackingError(Exception):
    """Packed data that does not unpack; the caller knows of which file."""


def unpack(kind: str, data: bytes, limit: int = LARGEST) -> bytes:
    """
    Return what was packed by ``none``, ``lz4`` or ``zstd``.

    Raises
    ------
    PackingError
        If the data is damaged or larger than ``limit`` bytes once unpacked.
    RecordingError
        If the library for it is not installed.
    """
    if kind == 'none':
        if len(data) > limit:
            raise PackingError(_too_large(limit))
        return data
    return {'lz4': _unpack_lz4, 'zstd': _unpack_zstd}[kind](data, limit)


def _too_large(limit):
    return 'it holds more than {} MiB in one piece'.format(limit >> 20)


def _unpack_lz4(data, limit):
    frame = _import('lz4.frame', 'lz4')
    context = frame.create_decompression_context()
    rest, parts, size, is_whole = memoryview(data), [], 0, False
    try:
        while not is_whole:
            # with a length to fill, lz4 is five times as fast as when it makes room by doubling
            part, taken, is_whole = frame.decompress_chunk(context, rest, max_length=PIECE)
            if not (part or taken or is_whole):
                raise PackingError('its LZ4 frame has no end')
            parts.append(part)
            size += len(part)
            if size > limit:
                raise PackingError(_too_large(limit))
            rest = rest[taken:]
    except (RuntimeError, MemoryError) as error:
        raise PackingError('LZ4 says: {}'.format(error)) from error
    return parts[0] if len(parts) == 1 else b''.join(parts)


def _unpack_zstd(data, limit):
    zstandard = _import('zstandard', 'zstandard')
    unpacker = zstandard.ZstdDecompressor(max_window_size=LARGEST)
    try:
        size = zstandard.frame_content_size(data)
        if size > limit:
            raise PackingError(_too_large(limit))
        if size >= 0:
            return unpacker.decompress(data)
        return _read_zstd(unpacker, data, limit)
    except (zstandard.ZstdError, MemoryError) as error:
        raise PackingError('Zstandard says: {}'.format(error)) from error


def _read_zstd(unpacker, data, limit):
    """Unpack a frame that does not tell its size."""
    parts, size = [], 0
    with unpacker.stream_reader(data) as stream:
        while True:
            part = stream.read(PIECE)
            if not part:
                return b''.join(parts)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise PackingError(_too_large(limit))


def unpack_file(path: str, plain) -> None:
    """
    Unpack a Zstandard file into an open one.

    Raises
    ------
    RecordingError
        If it is damaged or unpacks beyond reason.
    """
    zstandard = _import('zstandard', 'zstandard')
    limit = LARGEST_RATIO * os.path.getsize(path)
    size = 0
    try:
        with open(path, 'rb') as file:
            for part in zstandard.ZstdDecompressor(max_window_size=LARGEST).read_to_iter(file):
                size += len(part)
                if size > limit:
                    raise PackingError('it unpacks to more than {} times'.format(LARGEST_RATIO))
                plain.write(part)
    except (PackingError, zstandard.ZstdError) as error:
        raise RecordingError('{} is damaged: {}'.format(path, error)) from error
    plain.flush()


def pack(kind: str, data: bytes, level: int = 0) -> bytes:
    """Return the data packed by ``none``, ``lz4`` or ``zstd``; the level is that library's."""
    if kind == 'none':
        return data
    if kind == 'lz4':
        return _import('lz4.frame', 'lz4').compress(data, compression_level=level)
    return _import('zstandard', 'zstandard').ZstdCompressor(level=level).compress(data)


def _import(module, package):
    try:
        return __import__(module, fromlist=['*'])
    except ImportError as error:
        raise RecordingError(
            'this file is compressed with {0}: pip install {0}'.format(package)
        ) from error
