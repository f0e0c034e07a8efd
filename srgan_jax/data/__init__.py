"""Training data: from image files to a batch inside the compiled step."""
