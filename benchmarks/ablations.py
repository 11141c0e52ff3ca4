"""What ideas from beyond the AutoRec paper would bring: validation RMSE with and without each.

    python -m benchmarks.ablations ml-1m
    python -m benchmarks.ablations ml-100k --threads 1 --variants kernel --set sparsity=0 spread=0.6

Each is added to the library's recipe, in dense PyTorch, and measured on a tenth of the training
part. No test rating is used. The ideas: dense re-feeding (Kuchaiev, Ginsburg, 2017), the denoising
loss of CFN (Strub et al., 2016) and kernel-sparsified weights (Muller et al., ICML 2018).
"""

import math
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import load, parse_settings, parser, print_table
from benchmarks.dense_torch import DenseAutoRec
from benchmarks.reproduce.experiments import ML_100K
from isthmus import AutoRec, Ratings, train_test_split
from isthmus.metrics import rmse

RECIPES: dict[str, dict[str, Any]] = {"ml-1m": {}, "ml-100k": ML_100K}
"""What differs from AutoRec's defaults."""
KERNEL_DIMENSIONS = 5


class Variant(DenseAutoRec):
    """The recipe as it is, in the parts that variants change."""

    def output(self, values: torch.Tensor) -> torch.Tensor:
        """Reconstruct rows, all of their cells."""
        return self.decoder(torch.sigmoid(self.encoder(values)))

    def penalty(self) -> torch.Tensor:
        """What lambda / 2 weighs."""
        return self.encoder.weight.square().sum() + self.decoder.weight.square().sum()

    def weights_of_errors(self, mask: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Weigh each cell's squared error; `kept` is 0 where the input was masked."""
        return mask

    def step(self, ids: NDArray[np.int64]) -> None:
        """One mini-batch."""
        assert self.dense is not None
        index = torch.from_numpy(ids)
        values, mask = self.dense[0][index], self.dense[1][index]
        target = (values - self.offset[index][:, None]) * mask
        kept = (torch.rand_like(values) >= self.corruption).float()
        output = self.output(values * kept / (1 - self.corruption))
        errors = (output - target).square() * self.weights_of_errors(mask, kept)
        self._descend(errors.sum(), len(ids))

    def _descend(self, error: torch.Tensor, rows: int) -> None:
        share = rows / len(self.filled)
        loss = error + self.regularization / 2 * share * self.penalty()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Reconstructions of single cells."""
        assert self.dense is not None
        result: NDArray[np.float32] = (self.output(self.dense[0]) + self.offset[:, None]).numpy()
        return result[rows, columns]


class DenoisingLoss(Variant):
    """CFN's: an error counts `seen` where the input showed the cell, and 1 where it was masked."""

    seen = 0.5

    def weights_of_errors(self, mask: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Weigh each cell's squared error."""
        return mask * (1 + (self.seen - 1) * kept)


class Refeeding(Variant):
    """After each step a second one, whose input and target are the first one's dense output."""

    refed = 1.0
    """Weight of the second step's error, which is over all cells and not the observed alone."""

    def step(self, ids: NDArray[np.int64]) -> None:
        """One mini-batch, and its output as another."""
        super().step(ids)
        assert self.dense is not None
        index = torch.from_numpy(ids)
        mask = self.dense[1][index]
        with torch.no_grad():
            target = self.output(self.dense[0][index])
            # as large a sum of inputs as the row's own ratings have: the code is of raw ratings
            ratings = (target + self.offset[index][:, None]) * mask.mean(dim=1, keepdim=True)
        errors = (self.output(ratings) - target).square().mean(dim=1) * mask.sum(dim=1)
        self._descend(self.refed * errors.sum(), len(ids))


class KernelWeights(Variant):
    """Weights times max(0, 1 - |u_i - v_j|^2), with a point in R^5 for each column and unit."""

    sparsity = 0.01
    """Penalty on the squared kernels, beside lambda / 2 on the squared weights."""
    spread = 0.3
    """Standard deviation of the points at first; at 0, all kernels would be 1 and equal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layers = (self.encoder, self.decoder)
        self.points = [
            torch.nn.Parameter(
                self.spread / math.sqrt(KERNEL_DIMENSIONS) * torch.randn(n, KERNEL_DIMENSIONS)
            )
            for layer in layers
            for n in layer.weight.shape
        ]
        self.optimizer.add_param_group({"params": self.points})

    def _kernels(self) -> list[torch.Tensor]:
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        return [(1 - torch.cdist(out, into).square()).clamp(min=0) for out, into in pairs]

    def output(self, values: torch.Tensor) -> torch.Tensor:
        """Reconstruct rows, all of their cells."""
        inner, outer = self._kernels()
        linear = torch.nn.functional.linear
        codes = torch.sigmoid(linear(values, self.encoder.weight * inner, self.encoder.bias))
        return linear(codes, self.decoder.weight * outer, self.decoder.bias)

    def penalty(self) -> torch.Tensor:
        """What lambda / 2 weighs."""
        return super().penalty() + self.sparsity * sum(k.square().sum() for k in self._kernels())


VARIANTS = {
    "none": Variant,
    "denoising-loss": DenoisingLoss,
    "refeeding": Refeeding,
    "kernel": KernelWeights,
}


def measure(
    kind: type[Variant], settings: dict[str, Any], parts: tuple[Ratings, Ratings], args: Any
) -> tuple[float, int]:
    """Lowest validation RMSE, and its epoch."""
    train, held_out = parts
    recipe = AutoRec(**{"batch_size": 256, **RECIPES[args.data], "epochs": args.epochs})
    rows = train.rows("item")
    counts = np.diff(rows.indptr)
    sums = np.add.reduceat(np.append(rows.values, 0), rows.indptr[:-1]) * (counts > 0)
    means = ((sums + 10 * train.mean) / (counts + 10)).astype(np.float32)
    named = {k: v for k, v in settings.items() if hasattr(kind, k)}
    model = type(kind.__name__, (kind,), named)(
        rows,
        means,
        hidden_units=recipe.hidden_units[0],
        regularization=settings.get("regularization", recipe.regularization),
        optimizer="adam",
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        corruption=settings.get("corruption", recipe.corruption),
        keep_dense=True,
        threads=args.threads,
        seed=args.seed,
    )
    users, items, truth, _ = held_out.to_arrays()
    generator = np.random.default_rng(args.seed)
    errors = []
    for _ in range(recipe.epochs):
        model.run_epoch(generator)
        for group in model.optimizer.param_groups:
            group["lr"] *= recipe.learning_rate_decay
        predicted = np.clip(model.predict(items, users), train.min, train.max)
        errors.append(rmse(truth, predicted))
    best = int(np.argmin(errors))
    return errors[best], best + 1


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("data", choices=RECIPES)
    p.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    p.add_argument("--epochs", type=int, default=40)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the variant")
    args = p.parse_args()
    ratings, _ = load(args.data)
    train, _ = train_test_split(ratings, test_size=0.1, random_state=0)
    parts = train_test_split(train, test_size=0.1, random_state=0)
    rows = []
    for name in args.variants:
        start = process_time()
        error, epoch = measure(VARIANTS[name], parse_settings(args.set), parts, args)
        rows.append((name, f"{error:.4f}", epoch, f"{process_time() - start:.0f}"))
        print(rows[-1], flush=True)
    print_table(("variant", "validation RMSE", "epoch", "processor seconds"), rows)


if __name__ == "__main__":
    main()
