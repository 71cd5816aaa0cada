"""From event frames to one settled emotion: bundle, engine, estimator, filter."""

from cs3d_ros.inference.backends import BACKENDS, open_engine, open_tensorrt
from cs3d_ros.inference.bundle import SHIPPED_BUNDLE, Bundle, BundleError, read_bundle
from cs3d_ros.inference.emotion import (
    EXPRESSIONS,
    Emotion,
    EmotionFilter,
    EmotionSettings,
)
from cs3d_ros.inference.engine import EngineError, OnnxRuntimeEngine
from cs3d_ros.inference.estimator import make_estimator
from cs3d_ros.inference.tensorrt_build import PRECISIONS

__all__ = [
    'BACKENDS',
    'EXPRESSIONS',
    'PRECISIONS',
    'SHIPPED_BUNDLE',
    'Bundle',
    'BundleError',
    'Emotion',
    'EmotionFilter',
    'EmotionSettings',
    'EngineError',
    'OnnxRuntimeEngine',
    'make_estimator',
    'open_engine',
    'open_tensorrt',
    'read_bundle',
]
