#pragma once
// Steps of the weights of columns, along gradients that are sums over a batch's cells. See
// sparse_kernels.hpp for the names.

#include "isthmus/batches/batch.hpp"
#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

enum class Cells { input, error };

// For every column of a block: weights -= optimizer(sum over the column's cells of value x H_row +
// decay x weights), with the cells' inputs (V's gradient; H is then the hidden error) or their
// errors (W's gradient, and the bias's) for values. The gradient never leaves the registers. Where
// columns may skip steps, those without a cell in the batch do. The weights' precision is H's.
// Those of `upcoming` columns, which are read next, are fetched meanwhile.
void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step,
                    Range upcoming = {});
void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstHalfView h, const TrainedMatrix& trained, const OptimizerStep& step,
                    Range upcoming = {});

// For the columns that have a cell of the batch in a block: takes those of the first `count` of
// `steps` that they have skipped, along a gradient of decay x weights. Call it before their weights
// are read. Up to kMostExactSteps in a row give the same bits as if none had been skipped, but that
// state in halves is rounded once and not at each; more are taken as a few leaps
// (nn/skipped_steps.hpp), so that their number hardly matters.
void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count);

// The same for all columns in a range.
void catch_up_columns(Range columns, const TrainedMatrix& trained, const OptimizerStep* steps,
                      index_t count);

}  // namespace isthmus
