"""Images: MATLAB's resize, luma and value ranges, files."""

from srgan_jax.imaging.resize import imresize

__all__ = ['imresize']
