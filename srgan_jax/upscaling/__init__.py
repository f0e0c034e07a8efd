"""Upscaling: a generator on pictures of any size, many of them, and videos."""

from srgan_jax.upscaling.upscaler import Precision, Upscaler, load

__all__ = ['Precision', 'Upscaler', 'load']
