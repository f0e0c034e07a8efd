"""Downloads: a published file from its public home, whole and verified.

Commands that are given a name instead of a file call `download`; whatever goes
wrong is one line that says how to go on without it. Only the standard library's
HTTP is used.
"""

import hashlib
import http.client
import pathlib
import re
from typing import Any, BinaryIO
import urllib.error
import urllib.parse
import urllib.request

from srgan_jax import cli, files, weights

TIMEOUT_S = 30  # without a byte, and the connection counts as stalled
_CHUNK = 2**20
_SCHEMES = ('https', 'http', 'file')


def download(
  url: str, path: pathlib.Path, *, sha256: str | None = None
) -> None:
  """Downloads a file by https, http or file: beside its place, then renamed.

  A file already there is replaced, or stays where the download fails. On a
  terminal a progress bar is shown. Redirects are followed.

  Args:
    url: where the file lies.
    path: where to put it; its folder must exist.
    sha256: the file's SHA-256 in hexadecimal digits, or the first 8 or more of
      them, as in the names of PyTorch's files. None: not verified.

  Raises:
    ValueError: one line with the URL, the cause, and where to put the file by
      hand. The cause: no connection, an HTTP status, a connection that stalled
      or ended early, a web page or a Git LFS pointer, another SHA-256.
  """
  if sha256 is not None and not re.fullmatch('[0-9a-f]{8,64}', sha256):
    raise ValueError(f'sha256 must be 8 to 64 digits 0-9a-f, not {sha256!r}')
  try:
    with files.replacing(path) as beside:
      # A folder that is missing is found before any byte is asked for.
      with open(beside, 'wb') as file:
        digest = _fetch(url, file, path.name)
      if sha256 is not None and not digest.startswith(sha256):
        size = min(len(sha256), 16)
        raise _Refused(
          f'the SHA-256 differs: {digest[:size]}..., not {sha256[:size]}...'
        )
  except _Refused as error:
    raise ValueError(
      f'{url}: {error}; fetch it by hand to {path}'
    ) from error.__cause__
  except OSError as error:
    raise ValueError(f'{path}: {error.strerror or error}') from error


class _Refused(Exception):
  """Why the file did not come, in plain words."""


def _fetch(url: str, file: BinaryIO, name: str) -> str:
  """Writes what the URL holds to an open file; returns its SHA-256."""
  scheme = urllib.parse.urlsplit(url).scheme
  if scheme not in _SCHEMES:
    raise _Refused(f'not a URL of {", ".join(_SCHEMES)}')
  request = urllib.request.Request(url, headers={'User-Agent': 'srgan_jax'})
  try:
    response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
  except (OSError, http.client.HTTPException, ValueError) as error:
    raise _Refused(_cause(error, scheme)) from error
  with response:
    if response.headers.get_content_type() == 'text/html':
      raise _Refused('a web page came instead of the file')
    length = response.headers.get('Content-Length', '')
    total = int(length) if length.isdecimal() else None
    digest, count = hashlib.sha256(), 0
    with cli.progress(
      total=total,
      desc=name,
      unit='B',
      unit_scale=True,
      unit_divisor=1024,
      dynamic_ncols=True,
    ) as bar:
      while chunk := _read(response, scheme):
        if not count and (placeholder := weights.find_placeholder(chunk)):
          raise _Refused(f'what came is {placeholder}')
        file.write(chunk)
        digest.update(chunk)
        count += len(chunk)
        bar.update(len(chunk))
    # `read` of a given size does not say that the connection ended early.
    if total is not None and count != total:
      raise _Refused(f'the connection ended after {count} of {total} bytes')
    if not count:
      raise _Refused('what came is empty')
  return digest.hexdigest()


def _read(response: BinaryIO, scheme: str) -> bytes:
  """The next bytes; a failure is the network's, not of the file written."""
  try:
    return response.read(_CHUNK)
  except (OSError, http.client.HTTPException) as error:
    raise _Refused(_cause(error, scheme)) from error


def _cause(error: Exception, scheme: str) -> str:
  """An exception of urllib in plain words, on one line."""
  if isinstance(error, urllib.error.HTTPError):
    error.close()
    return f'HTTP status {error.code} ({error.reason})'
  reason: Any = error
  if isinstance(error, urllib.error.URLError):
    reason = error.reason
  if isinstance(reason, TimeoutError):
    return f'nothing came for {TIMEOUT_S} seconds'
  if isinstance(reason, http.client.IncompleteRead):
    return 'the connection ended before the file did'
  text = cli.one_line(reason)
  if scheme == 'file':
    return f'cannot be read ({text})'
  return f'no connection, offline? ({text})'
