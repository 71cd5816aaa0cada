"""The event camera in software: video in, events out."""

from cs3d_ros.simulator.pixel import PixelModel, PixelSettings
from cs3d_ros.simulator.video import Video, VideoError, VideoInfo, simulate_video

__all__ = ['PixelModel', 'PixelSettings', 'Video', 'VideoError', 'VideoInfo', 'simulate_video']
