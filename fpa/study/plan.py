"""In which order the runs of a call begin, several at once."""

from collections.abc import Sequence

from fpa.study.runs import Spec
from fpa.study.state import Study, finished


class Plan:
    """What is left to do, in order: a run waits for those that make what it reads.

    With `early`, where no other run could begin, one that loads nothing of unfinished runs but models, which are there
    already, need not wait: they will most likely be kept as they are. Such a run stays in `todo` and comes up again in
    its turn, to be done anew if the models have changed, or if it has failed.
    """

    def __init__(self, study: Study, runs: Sequence[Spec], early: bool = True):
        self.study, self.todo = study, list(runs)
        self._candidates = list(runs) if early else []

    def take(self, under_way: Sequence[Spec]) -> Spec | None:
        """The next run to begin beside those `under_way`; None if there is none yet."""
        idle = [spec for spec in self.todo if spec not in under_way]
        for spec in idle:
            if not self._awaited(spec, under_way):
                self.todo.remove(spec)
                return spec
        for spec in idle:
            if spec in self._candidates and self._may_begin_early(spec, under_way):
                self._candidates.remove(spec)
                if finished(self.study, spec) is None:
                    return spec
        return None

    def _awaited(self, spec: Spec, under_way: Sequence[Spec]) -> set[str]:
        """The unfinished runs that make what `spec` reads."""
        return {*spec.sources} & {other.name for other in (*self.todo, *under_way)}

    def _may_begin_early(self, spec: Spec, under_way: Sequence[Spec]) -> bool:
        awaited = self._awaited(spec, under_way)
        made = {product for name in awaited for product in self.study.specs[name].makes}
        loaded = [product for product in spec.loads if product in made]
        return all(name.startswith("models/") and (self.study.folder / name).is_file() for name in loaded)
