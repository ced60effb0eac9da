"""The pages for people and for the owner of a study: templates, texts, one stylesheet and a plain script each."""

from glocal.collect.pages.assets import default_consent, default_instructions, static_file
from glocal.collect.pages.page import POLICY, owner_page, person_page, problem_page

__all__ = [
    "POLICY", "default_consent", "default_instructions", "owner_page", "person_page", "problem_page", "static_file",
]  # fmt: skip
