"""The paper's experiments: its figures and ours, and how ours are made."""
