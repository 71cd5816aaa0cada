"""The networks: the canonical C3D, and CS3D as four settings of one code."""

from training.models.c3d import C3D
from training.models.cs3d import CS3D, CS3DSettings

__all__ = ['C3D', 'CS3D', 'CS3DSettings']
