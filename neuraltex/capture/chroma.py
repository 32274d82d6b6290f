"""Masks from a chroma key: what stands before a screen of one colour is the object, shadows on the screen are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.lookup import IMAGE_SUFFIXES, list_photographs
from neuraltex.capture.images import MASK_THRESHOLD, read_image, write_image
from neuraltex.capture.video import probe_video, read_video
from neuraltex.errors import InputError, InputWarning, SettingError
from neuraltex.files import is_occupied, whole_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

Report = Callable[[int, int], None]

# Half-way between the screen and gray: where a gray object's edge covers half of a pixel.
TOLERANCE = 0.5
# R, G, B to Y, Cb, Cr of BT.709, without offsets.
LUMA = np.array([0.2126, 0.7152, 0.0722])
TO_YCC = np.stack([LUMA, (np.array([0.0, 0.0, 1.0]) - LUMA) / 1.8556, (np.array([1.0, 0.0, 0.0]) - LUMA) / 1.5748])
# Added to the luma that chroma is divided by, of 255: a black object's chroma is noise.
DARK = 16.0
# A screen of less chroma a luma than this is gray, whatever the light; a green one in the shops has 0.6, a blue one 1.
LEAST_CHROMA = 0.2
# Of the longer side: the border that the screen's colour is measured on.
BORDER = 0.03
# The share of the border that must be of one colour; the object may cross the rest.
LEAST_BORDER = 0.6
# Of the picture: what is smaller than this is a speck or a pin hole.
SPECK = 1 / 5000


@dataclass(frozen=True)
class Masked:
    """What `mask_photographs` made.

    Args:
        colour: the screen's, as "#rrggbb".
        num_frames: masks written.
        share: of all pixels, how many are on the object.
        least: the smallest share of one frame.
        most: the largest share of one frame.
    """

    colour: str
    num_frames: int
    share: float
    least: float
    most: float


def _silent(done: int, total: int) -> None:
    pass


def mask_photographs(
    photos: Path, output: Path, *, colour: str | None = None, tolerance: float = TOLERANCE, report: Report = _silent
) -> Masked:
    """Write the masks of photographs of an object before a screen of one colour.

    Args:
        photos: a video, or a folder of photographs.
        output: the folder to make: PNG files, 255 on the object and 0 on the screen, under the names of the
            photographs; of a video `000000.png`, ... one a frame.
        colour: of the screen, as "#rrggbb"; measured on the border of the first picture where None.
        tolerance: of `key_mask`.
        report: called with how many frames are done, and of how many, 0 where that is not known.

    Raises:
        InputError: the photographs are missing or broken, their border is not of one colour, nothing or everything
            would be object, or `output` holds something; nothing is left behind then.
        SettingError: `colour` or `tolerance` cannot be.
    """
    photos, output = Path(photos), Path(output)
    key = None if colour is None else parse_colour(colour)
    if not 0 < tolerance < 1:
        raise SettingError(f"--tolerance {tolerance}: expected a share between 0 and 1")
    if is_occupied(output):
        raise InputError(output, "exists already", hint="remove it or choose another name")
    if not photos.exists():
        raise InputError(photos, "does not exist", hint="pass a video or a folder of photographs")
    if photos.is_file() and photos.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(photos, "is one photograph", hint="pass the folder of all photographs, or a video")
    with whole_folder(output) as (folder, _):
        keyer = _Keyer(photos, folder, key, tolerance, report)
        if photos.is_dir():
            keyer.photographs()
        else:
            keyer.video()
        masked = keyer.result()
    keyer.warn_of_odd()
    return masked


def parse_colour(text: str) -> npt.NDArray[np.uint8]:
    """`[3]` sRGB of "#rrggbb".

    Raises:
        SettingError: another text, or a colour too gray to key by.
    """
    digits = text.removeprefix("#")
    if len(digits) != 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise SettingError(f"--colour {text!r}: expected six hexadecimal digits, as in '#00b140'")
    colour = np.frombuffer(bytes.fromhex(digits), np.uint8)
    if _saturation(_chroma(colour)) < LEAST_CHROMA:
        raise SettingError(f"--colour {text!r}: expected a saturated colour, a gray screen cannot be told from objects")
    return colour


def key_mask(
    rgb: npt.NDArray[np.uint8], colour: npt.NDArray[np.uint8], *, tolerance: float = TOLERANCE
) -> npt.NDArray[np.bool_]:
    """What is not of the screen's colour, whatever the light on the screen.

    Chroma of BT.709 is divided by luma, so that a shadow, which scales all channels alike, moves a colour nowhere;
    what is nearly black counts as gray. Specks of the object and holes in it that are smaller than 1/5000 of the
    picture go away.

    Args:
        rgb: `[H, W, 3]` sRGB-encoded.
        colour: `[3]` sRGB-encoded, the screen's.
        tolerance: distance in the chroma plane up to which a pixel is screen, in the screen's own distance from gray:
            0 is the screen's exact colour, 1 already takes gray.

    Returns:
        `[H, W]` True on the object.
    """
    import cv2

    key = _chroma(colour)
    far = np.square(_chroma(rgb) - key).sum(axis=-1) > np.square(tolerance * _saturation(key))
    # Single pixels of noise, and fringes one pixel deep along the outline.
    smooth = np.asarray(cv2.medianBlur(far.astype(np.uint8), 3)) > 0
    return ~_without_specks(~_without_specks(smooth))


def screen_colour(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """The one saturated colour of a picture's border.

    Args:
        rgb: `[H, W, 3]` sRGB-encoded.

    Returns:
        `[3]` sRGB-encoded; None where the border is gray, or less than 60% of it has one colour.
    """
    height, width = rgb.shape[:2]
    depth = max(1, round(BORDER * max(height, width)))
    inner = np.zeros((height, width), np.bool_)
    inner[depth : height - depth, depth : width - depth] = True
    border = rgb[~inner]
    chroma = _chroma(border)
    middle = np.median(chroma, axis=0)
    alike = np.sqrt(np.square(chroma - middle).sum(axis=-1)) <= TOLERANCE * _saturation(middle)
    if _saturation(middle) < LEAST_CHROMA or alike.mean() < LEAST_BORDER:
        return None
    return np.asarray(np.median(border[alike], axis=0), np.uint8)


class _Keyer:
    """Photographs go in, one at a time; masks lie in `folder`, and what they cover is counted."""

    def __init__(
        self, photos: Path, folder: Path, colour: npt.NDArray[np.uint8] | None, tolerance: float, report: Report
    ) -> None:
        self.photos, self.folder, self.colour, self.tolerance = photos, folder, colour, tolerance
        self.report = report
        self.names: list[str] = []
        self.shares: list[float] = []
        self.covered = self.pixels = 0

    def photographs(self) -> None:
        found = list_photographs(self.photos)
        if not found:
            raise InputError(
                self.photos,
                "holds no photographs",
                hint=f"pass a folder of {', '.join(IMAGE_SUFFIXES)} files, or a video",
            )
        for path, name in zip(found, _mask_names(found), strict=True):
            self.report(len(self.names), len(found))
            decoded = read_image(path)
            self.add(decoded.rgb, path.name, name, decoded.alpha)

    def video(self) -> None:
        total = probe_video(self.photos).num_frames

        def collect(rgb: npt.NDArray[np.uint8], index: int) -> None:
            self.report(index, total)
            self.add(rgb, f"frame {index}", f"{index:06d}.png")

        read_video(self.photos, collect=collect)

    def add(
        self, rgb: npt.NDArray[np.uint8], shown: str, name: str, alpha: npt.NDArray[np.uint8] | None = None
    ) -> None:
        if self.colour is None:
            self.colour = screen_colour(rgb)
        if self.colour is None:
            raise InputError(
                self.photos,
                f"the border of {shown} is not of one saturated colour, so the screen's cannot be measured on it",
                hint='pass --colour "#rrggbb"',
            )
        mask = key_mask(rgb, self.colour, tolerance=self.tolerance)
        if alpha is not None:
            mask &= alpha >= MASK_THRESHOLD
        write_image(self.folder / name, mask.astype(np.uint8) * 255)
        self.names.append(shown)
        self.shares.append(float(mask.mean()))
        self.covered += int(mask.sum())
        self.pixels += mask.size

    def result(self) -> Masked:
        assert self.colour is not None, "at least one picture was added"
        shown = _written(self.colour)
        if self.covered in (0, self.pixels):
            frames = f"the {len(self.names)} frames"
            if self.covered == 0:
                found, change = f"nothing is masked as the object: all of {frames} is a screen of {shown}", "smaller"
            else:
                found, change = (
                    f"everything is masked as the object: nothing in {frames} is a screen of {shown}",
                    "larger",
                )
            raise InputError(
                self.photos,
                found,
                hint=f"pass the screen's --colour, or a {change} --tolerance than {self.tolerance:g}",
            )
        share = self.covered / self.pixels
        return Masked(shown, len(self.names), share, min(self.shares), max(self.shares))

    def warn_of_odd(self) -> None:
        odd = [name for name, share in zip(self.names, self.shares, strict=True) if share in (0.0, 1.0)]
        if odd:
            warnings.warn(
                f"{self.photos}: in {len(odd)} of {len(self.names)} frames nothing or everything is masked as the "
                f"object, the first is {odd[0]}",
                InputWarning,
                stacklevel=3,
            )


def _mask_names(photographs: list[Path]) -> list[str]:
    """`a.png` for `a.jpg`; `a.jpg.png` where there are several photographs a."""
    stems = {path.stem for path in photographs}
    return [f"{path.stem if len(stems) == len(photographs) else path.name}.png" for path in photographs]


def _chroma(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """`[..., 2]` Cb and Cr for each unit of luma."""
    import cv2

    pixels = np.ascontiguousarray(rgb, np.float32).reshape(-1, 1, 3)
    ycc = np.asarray(cv2.transform(pixels, TO_YCC), np.float32).reshape(*rgb.shape[:-1], 3)
    return ycc[..., 1:] / (ycc[..., :1] + np.float32(DARK))


def _saturation(chroma: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(chroma))


def _without_specks(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """An area opening: connected pieces that are too small go, all others stay as they are, however thin."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= max(2.0, SPECK * mask.size)
    kept[0] = False  # what is not in the mask
    return np.asarray(kept[labels])


def _written(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in colour)
