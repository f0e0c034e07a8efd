"""The networks: generator, discriminator and VGG features."""
