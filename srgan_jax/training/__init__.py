"""Training: the stages of a config, the compiled step, and the run."""
