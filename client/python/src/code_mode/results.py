# SPDX-License-Identifier: Apache-2.0
"""What cells put out, and how they stand."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

from .errors import LimitError, ScriptError

ImageDetail = Literal["auto", "low", "high", "original"]
Status = Literal["completed", "yielded", "terminated"]


def _decode_data_uri(uri: str) -> tuple[str, bytes]:
    head, comma, body = uri.partition(",")
    if not comma or head[:5].lower() != "data:":
        raise ValueError("the output is no data: URI")
    mime_type, *parameters = head[5:].split(";")
    if parameters and parameters[-1].lower() == "base64":
        text = "".join(body.split())
        try:
            # Some writers leave the padding out.
            return mime_type, base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"the output is no base64: {error}") from error
    return mime_type, unquote_to_bytes(body)


@dataclass(frozen=True, slots=True)
class Text:
    """A text that the script gave to `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image that the script gave to `image`."""

    url: str
    """The `data:` URI."""
    detail: ImageDetail | None = None
    """How closely a model should look at it."""

    @property
    def mime_type(self) -> str:
        """Such as `image/png`."""
        return _decode_data_uri(self.url)[0]

    @property
    def data(self) -> bytes:
        """The image itself. Raises ValueError when the script gave no proper `data:` URI."""
        return _decode_data_uri(self.url)[1]


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound that the script gave to `audio`."""

    url: str
    """The `data:` URI."""

    @property
    def mime_type(self) -> str:
        """Such as `audio/wav`."""
        return _decode_data_uri(self.url)[0]

    @property
    def data(self) -> bytes:
        """The sound itself. Raises ValueError when the script gave no proper `data:` URI."""
        return _decode_data_uri(self.url)[1]


Item = Text | Image | Audio


@dataclass(frozen=True, slots=True)
class StateLost:
    """What a fresh host means for a session: the stored values and running cells before it are gone."""

    generation: int
    """The generation that was lost, from 1."""
    cause: str
    """Why its host was lost."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a script put out."""

    cell_id: str
    """The cell's id in its session."""
    items: tuple[Item, ...]
    """The output, in order."""
    state_lost: StateLost | None = None
    """Set once after a host was lost: the stored values of the session are gone."""
    host_duration_ns: int | None = None
    """How long the host worked on it, in nanoseconds, where the host says so."""
    result_buffered_ns: int | None = None
    """How long the result waited for its observer, in nanoseconds, where the host says so."""

    @property
    def texts(self) -> list[str]:
        """The texts, one for each call of `text`."""
        return [item.text for item in self.items if isinstance(item, Text)]

    @property
    def text(self) -> str:
        """The texts, joined by line breaks."""
        return "\n".join(self.texts)

    @property
    def images(self) -> list[Image]:
        """The images."""
        return [item for item in self.items if isinstance(item, Image)]

    @property
    def audio(self) -> list[Audio]:
        """The sounds."""
        return [item for item in self.items if isinstance(item, Audio)]


@dataclass(frozen=True, slots=True)
class CellResponse(Result):
    """What an observer of a cell gets: the output since the last response, and how the cell stands."""

    status: Status = "completed"
    """`yielded`: the cell runs on."""
    error: ScriptError | LimitError | None = field(default=None)
    """Why the script failed, if it did."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come."""
        return self.status != "yielded"
