"""The paper's experiments: its figures beside ours, and how ours are made."""
