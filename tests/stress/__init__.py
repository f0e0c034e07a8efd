"""Attacks on the package's readers and servers, with the figures they yield.

`hostile_files` makes files that are meant to cost time and memory, `readers`
measures what each reader does with them, and `raters` scores a study while its
server is killed. `python -m tests.stress` prints it all.
"""
