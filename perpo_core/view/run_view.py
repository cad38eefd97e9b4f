"""One run, opened for looking: each tab when it is first asked for, and then kept."""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from typing import cast

from perpo_core.perception.frames import Framer, build_framer
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import Store
from perpo_core.view.answers import Answers
from perpo_core.view.choosing import Tab
from perpo_core.view.dropped import DroppedTab
from perpo_core.view.files import Absent, RunFiles
from perpo_core.view.lists import ListsTab
from perpo_core.view.predictions import PredictionsTab
from perpo_core.view.query import TabName
from perpo_core.view.samples import SamplesTab
from perpo_core.view.showing import Showing
from perpo_core.vision.stored import find_stored_format
from schemas.run import RunRecord


class RunView:
    """The rows of one run. Threads may ask for different things at once."""

    def __init__(self, store: Store, run: RunRecord) -> None:
        self.run = run
        self.files = RunFiles(store, run)
        self._tabs: dict[TabName, Tab] = {}
        self._lock = threading.RLock()  # a tab is opened once, whoever asks first

    def get_tab(self, name: TabName) -> Tab:
        """Its rows; raises Absent where the run has none of them."""
        with self._lock:
            if name not in self._tabs:
                self._tabs[name] = self._open_tab(name)
            return self._tabs[name]

    def _open_tab(self, name: TabName) -> Tab:
        if name == "samples":
            return SamplesTab(self.files, self.showing)
        if name == "lists":
            return ListsTab(self.files, self.showing, self.answers)
        samples = cast(SamplesTab, self.get_tab("samples"))
        if name == "dropped":
            return DroppedTab(self.files, samples)
        return PredictionsTab(self.files, self.showing, samples)

    @cached_property
    def answers(self) -> Answers:
        """All answers that were scored."""
        return Answers(self.files)

    @cached_property
    def showing(self) -> Showing:
        """How rows are drawn; without pictures where the samples are gone."""
        try:
            images = Images(list(self.files.open("collect", PREFIX).values()))
        except Absent:
            images = None
        return Showing(images, self.run.config.policy.box_format, self._find_framer())

    def _find_framer(self) -> Framer | None:
        policy = self.run.config.policy
        folder = self.files.store.resolve(self.run.policy_folder)
        try:
            return build_framer(policy.box_format, folder, policy.pixel_limits)
        except (OSError, ValueError):  # the policy's folder is gone, or another than it was
            return None

    def read_image(self, image_hash: str) -> tuple[bytes, str]:
        """The bytes of an image that rows of this run name, and their media type.

        Raises Absent for any other, and for bytes that are damaged or no image.
        """
        images = self.showing.images
        try:
            data = images.read(image_hash) if images is not None else b""
        except KeyError:
            data = b""
        if hashlib.sha256(data).hexdigest() != image_hash:
            raise Absent(f"There is no image {image_hash} in this run, or it is damaged.")
        return data, _find_media_type(data)


def _find_media_type(data: bytes) -> str:
    """What a browser may be told that the bytes are; raises Absent where they are no image."""
    try:
        return f"image/{find_stored_format(data)}"
    except (OSError, ValueError) as error:
        raise Absent("The store holds something here that is no image.") from error
