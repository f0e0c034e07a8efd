"""Videos, frame by frame; PyAV (FFmpeg's libraries) reads and writes them."""

from srgan_jax.upscaling.video.upscale import upscale_video

__all__ = ['upscale_video']
