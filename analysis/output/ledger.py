"""The list of the papers' claims. `docs/claims.md` is this module's output.

`python -m analysis.output.ledger > docs/claims.md` writes it again after a claim was added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.claims import PAPERS
from analysis.claims.claim import Claim

INTRODUCTION = """# The papers' claims

Reports, tables and `--until-decided` refer to the claims by these names. [method.md](method.md#how-a-claim-is-decided)
says how one is decided, and [your_own_claim.md](your_own_claim.md) how one is added. A paper's letter is that of its
claims:

- **A**: Kamath, Deshpande and Subrahmanyam, "How do SGD hyperparameters in natural training affect adversarial
  robustness?", 2020, [arXiv:2006.11604](https://arxiv.org/abs/2006.11604)
- **B**: Choudhary, "Analyzing the implicit adversarial robustness of networks trained using SGD", 2020
- **C**: Yao, Gholami, Lei, Keutzer and Mahoney, "Hessian-based Analysis of Large Batch Training and Robustness to
  Adversaries", 2018, [arXiv:1802.08241](https://arxiv.org/abs/1802.08241)

Regimes: *LR* is a constant learning rate of .01, *LR/BS* a learning rate that grows with the batch size (their ratio is
constant), *benchmark* paper A's schedule with momentum .9 whose rate is halved every five epochs.

Made by `python -m analysis.output.ledger > docs/claims.md`; a test keeps it current."""


def ledger() -> str:
    """The text of `docs/claims.md`."""
    return "\n".join([INTRODUCTION, *(line for paper in PAPERS for line in _table(paper.CLAIMS))]) + "\n"


def _table(claims: Sequence[Claim]) -> Iterator[str]:
    yield from (
        "",
        f"## {claims[0].source.paper}",
        "",
        "| claim | the paper says | section | figures |",
        "|---|---|---|---|",
    )
    for claim in claims:
        source = claim.source
        yield f"| {claim.name} | {claim.statement} | {source.section} | {' '.join(source.figures)} |"


if __name__ == "__main__":
    print(ledger(), end="")
