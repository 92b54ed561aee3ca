"""How much memory an autograd graph holds on to."""

from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.autograd.graph import Node


def graph_bytes(outputs: Iterable[Tensor], *, besides: Iterable[Tensor] = ()) -> int:
    """Bytes of the tensors that the graph behind ``outputs`` saved for backward, each storage counted once.

    Args:
        outputs: tensors with a ``grad_fn``; those without one hold no graph.
        besides: tensors that exist anyway (parameters, data) and so do not count.
    """
    known = {t.untyped_storage().data_ptr() for t in besides}
    total = 0
    for saved in _saved_tensors(outputs):
        storage = saved.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            total += storage.nbytes()
    return total


def _saved_tensors(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    to_visit: list[Node] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(to_visit)
    while to_visit:
        node = to_visit.pop()
        for name in dir(node):
            if name.startswith("_saved_") or name == "saved_tensors":
                saved = getattr(node, name)
                several = saved if isinstance(saved, tuple | list) else [saved]
                yield from (t for t in several if isinstance(t, Tensor))
        fresh = [n for n, _ in node.next_functions if n is not None and n not in seen]
        seen.update(fresh)
        to_visit.extend(fresh)
