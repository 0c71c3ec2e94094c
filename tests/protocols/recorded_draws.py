"""Who draws which words under which keys, while a session of threads runs."""

import threading
from collections import defaultdict

import numpy as np

from tacita.ring import kernels


def role():
    """The role whose thread this is; the user's side has the main thread."""
    return threading.current_thread().name.removeprefix("tacita ")


class Draws:
    """The arrays that a role drew under a key, in order; and who drew under the key at all."""

    def __init__(self, monkeypatch):
        self._words = defaultdict(list)
        self._roles = defaultdict(set)
        for name in ("aes_ctr", "aes_ctr_add", "aes_ctr_xor"):
            monkeypatch.setattr(kernels, name, self._recording(getattr(kernels, name)))

    def _recording(self, draw):
        def recorded(key, nonce, block, out, **options):
            draw(key, nonce, block, out, **options)
            self._roles[key].add(role())
            if draw.__name__ == "aes_ctr":
                self._words[role(), key].append(out.copy())

        return recorded

    def of(self, who, *roles):
        """What a role drew under keys that these roles have, and nobody else."""
        return [
            words
            for (each, key), drawn in self._words.items()
            if each == who and self._roles[key] == set(roles)
            for words in drawn
        ]

    def all_words(self, who, *roles):
        return np.concatenate([words.reshape(-1) for words in self.of(who, *roles)])
