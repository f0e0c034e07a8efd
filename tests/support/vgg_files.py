"""VGG files of others, as tests write them."""

import h5py

# Where torchvision's models have their convolutions.
NUMBERS = {
  16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
  19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def write_h5(path, arrays):
  with h5py.File(path, 'w') as file:
    for name, array in arrays.items():
      file[name] = array
