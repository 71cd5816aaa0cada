"""The event camera in software: video in, events out."""

from cs3d_ros.simulator.pixel import (
    PRESETS,
    SETTING_HELP,
    PixelModel,
    PixelSettings,
    dimmed,
)
from cs3d_ros.simulator.video import (
    Video,
    VideoError,
    VideoInfo,
    open_source,
    simulate_video,
)

__all__ = [
    'PRESETS',
    'SETTING_HELP',
    'PixelModel',
    'PixelSettings',
    'Video',
    'VideoError',
    'VideoInfo',
    'dimmed',
    'open_source',
    'simulate_video',
]
