"""Evidence: is one method better than another, by how much, and what else was measured.

Statistics over methods that were trained with several seeds and judged on the same prompts. What
is here is arithmetic on arrays; docs/evidence.md has every definition in words.
"""
