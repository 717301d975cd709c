"""Pictures and sound of the study: the quickstart's, with a small mark for every sign."""

from __future__ import annotations

import numpy as np

from simdata.synthetic.film import SOUND_RATE, Footage
from simdata.synthetic.latents import Scene, latents_at
from simdata.synthetic.stimuli import Latents, contrast_room, drifting, finished, mixture, shown, sound
from simdata.synthetic.study.scenes import HEARD_SIGNS, NAMES, SEEN_SIGNS

# A mark of the picture drifts to the left or to the right in a corner.
CORNERS = ((0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8))  # (y, x) of the picture
MARK_FREQUENCY, MARK_SPEED = 8.0, 3.0  # cycles a picture, Hz
MARK_SPREAD = 0.1
GABOR, MARK = 0.6, 0.4  # share of the room for contrast
# A mark of the sound is one of two tones, Hz.
TONES = ((2800, 3250), (3700, 4250), (4800, 5500), (6200, 7100))
TONE = 0.25  # root mean square of each, of the scene's


def footage(movie_scenes: list[Scene], seconds: int) -> Footage:
    """The film of a movie's scenes."""
    return Footage(lambda times: _pictures(movie_scenes, times), sound(movie_scenes, seconds, _marked))


def _pictures(movie_scenes: list[Scene], times: np.ndarray) -> np.ndarray:
    values = latents_at(movie_scenes, times, NAMES)
    now = shown(values)
    room = contrast_room(now)
    grey = now["luminance"] + drifting(now, GABOR * now["contrast"] * room)
    for name, (y, x) in zip(SEEN_SIGNS, CORNERS, strict=True):
        mark = {"y": y, "x": x, "frequency": MARK_FREQUENCY, "speed": MARK_SPEED, "direction": 0.0}
        constant = {key: np.full_like(room, value) for key, value in mark.items()}
        constant["speed"] *= now[name]
        grey += drifting(now | constant, MARK * room, MARK_SPREAD)
    return finished(grey, np.isnan(values["since"]))


def _marked(scene: Scene, values: Latents) -> np.ndarray:
    marks = len(HEARD_SIGNS) * TONE**2
    voice = np.sqrt(1 - marks) * mixture(scene, values)
    for name, (low, high) in zip(HEARD_SIGNS, TONES, strict=True):
        tone = high if scene.first[name] > 0 else low
        voice += np.sqrt(2) * TONE * np.sin(2 * np.pi * tone * np.arange(len(voice)) / SOUND_RATE)
    return voice
