"""Other people's weights to ours, and ours to other programs.

Three modules are commands: `python -m srgan_jax.convert.vgg`, `.lpips` and
`.generator` read files of others; `.to_torch` writes one.
"""
