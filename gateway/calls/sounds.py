"""What a caller may hear that no model said: the same for all calls of a process."""

from dataclasses import dataclass

from gateway.audio.comfort import RINGBACK, TONE, Prompt
from gateway.audio.formats import AudioFormat
from gateway.audio.loop import Loop


@dataclass(frozen=True, slots=True)
class Sounds:
    """The recordings of a line."""

    filler: Prompt | None = None
    """While the caller is kept waiting; None is silence."""
    apologises: Prompt | None = None
    """When no session is to be had any more."""
    comfort: Prompt = TONE
    """While a lost session is replaced."""

    def loop(self, sound: str, audio_format: AudioFormat) -> Loop | None:
        """The background of that name, from its beginning; None is silence."""
        prompts = {"comfort": self.comfort, "filler": self.filler, "ringback": RINGBACK}
        prompt = prompts.get(sound)
        return None if prompt is None else Loop(prompt.in_format(audio_format))

    def apology(self, audio_format: AudioFormat) -> bytes:
        """The last words, all of them; empty when there are none."""
        return b"" if self.apologises is None else self.apologises.in_format(audio_format)
