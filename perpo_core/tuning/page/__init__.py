"""The page on which trials are compared: one study, two sides as pictures, what was learned."""

from perpo_core.tuning.page.page import MEDIA_TYPES, load_asset, render_list, render_study

__all__ = ["MEDIA_TYPES", "load_asset", "render_list", "render_study"]
