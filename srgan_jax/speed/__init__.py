"""How long training and upscaling take, and on which devices."""
