"""Figures of merit: the three named protocols, and panels to look at."""

from srgan_jax.evaluation.metrics import PROTOCOLS, score

__all__ = ['PROTOCOLS', 'score']
