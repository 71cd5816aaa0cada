"""The event camera in software: video in, events out."""

from cs3d_ros.simulator.pixel import (
    PRESETS,
    SETTING_HELP,
    PixelModel,
    PixelSettings,
    dimmed,
)
from cs3d_ros.simulator.sources import (
    Camera,
    FrameSource,
    ImageFolder,
    Video,
    VideoError,
    VideoInfo,
    camera_index,
    open_frames,
)
from cs3d_ros.simulator.upsample import AUTO, OFF, Upsampler
from cs3d_ros.simulator.video import EventCamera, open_source, simulate_frames, simulate_video

__all__ = [
    'AUTO',
    'OFF',
    'PRESETS',
    'SETTING_HELP',
    'Camera',
    'EventCamera',
    'FrameSource',
    'ImageFolder',
    'PixelModel',
    'PixelSettings',
    'Upsampler',
    'Video',
    'VideoError',
    'VideoInfo',
    'camera_index',
    'dimmed',
    'open_frames',
    'open_source',
    'simulate_frames',
    'simulate_video',
]
