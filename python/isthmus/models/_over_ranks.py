"""What the models share that ranks train together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from isthmus.data.ratings import Ratings
from isthmus.distributed import Communicator, ThreadCommunicator
from isthmus.models._rank_fit import RankJob, fit_over_ranks
from isthmus.models._rank_gather import gather

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OverRanks"]


class OverRanks:
    """A model whose `fit` takes a communicator, and which then has the columns of a rank alone."""

    _rank_job: ClassVar[type[RankJob]]
    """How a rank trains it."""

    _rank_columns: NDArray[np.int32] | None = None
    """If it has the columns of a rank alone, their numbers among all."""

    def gather(self, comm: Communicator) -> Self | None:
        """Make a whole model of what all ranks of a job have trained.

        Parameters
        ----------
        comm : Communicator
            The one that the model was fitted with; all ranks must call this.

        Returns
        -------
        A model of the same class, or None
            On rank 0, a model as one machine would have made it; on others, None.
        """
        return cast("Self | None", gather(self, comm))

    def _check_whole(self) -> None:
        if self._rank_columns is not None:
            raise ValueError(
                "This model must be whole for that, but it has the columns of one rank: gather() "
                "makes a whole one."
            )

    def _fit_again(
        self, ratings: Any, validation: Any, trained: Self, weights: Ratings | None
    ) -> Self:
        receipt = trained._receipt  # type: ignore[attr-defined]
        if receipt is None or receipt.ranks is None:
            alone: Self = super()._fit_again(ratings, validation, trained, weights)  # type: ignore[misc]
            return alone
        fit_over_ranks(
            *(self, ratings, ThreadCommunicator()),
            slices=receipt.slices,
            validation=validation,
            callbacks=(),
            epochs=max(1, len(trained.history_)),  # type: ignore[attr-defined]
        )
        return self
