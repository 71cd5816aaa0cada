"""The event camera in software: video in, events out."""

from cs3d_ros.simulator.pixel import PixelModel, PixelSettings
from cs3d_ros.simulator.video import (
    Video,
    VideoError,
    VideoInfo,
    open_source,
    simulate_video,
)

__all__ = [
    'PixelModel',
    'PixelSettings',
    'Video',
    'VideoError',
    'VideoInfo',
    'open_source',
    'simulate_video',
]
