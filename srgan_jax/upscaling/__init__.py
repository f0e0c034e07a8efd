"""Upscaling: a generator on pictures of any size, many of them, and videos."""

from srgan_jax.upscaling.loading import load, read_generator
from srgan_jax.upscaling.upscaler import Precision, Upscaler

__all__ = ['Precision', 'Upscaler', 'load', 'read_generator']
