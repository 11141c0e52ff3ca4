#pragma once
// Products of a batch's sparse cells with dense matrices: where the time of training goes.
//
// Each works on one block of columns at a time, so that the block's weights stay in a core's cache
// while every row of the batch passes by; sums live in registers. X is the batch's input (rows x
// cols), E its decoding errors on observed cells, V and W weights (cols x k, internal columns), H a
// dense block (rows x k). docs/performance.md tells what was measured and dropped.

#include "isthmus/batches/batch.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

// H += X V over one block, for batch rows in `rows`.
void encode_block(const Batch& batch, index_t block, Range rows, ConstMatrixView v, MatrixView h);

// H = X V over all blocks of the batch's layout, for batch rows in `rows`.
void encode_rows(const Batch& batch, Range rows, ConstMatrixView v, MatrixView h);

// How the model's output is computed from the decoder's products.
struct DecodeRule {
    Activation activation = Activation::identity;
    const float* bias = nullptr;  // per internal column
};

// For every observed cell: z = W_column . H_row + bias; its error 2 (f(z) - target) f'(z) replaces
// the target in the batch; dH += E W; squared_error[row] += (f(z) - target)^2.
void decode_block(Batch& batch, index_t block, Range rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error);

enum class Cells { input, error };

// For every column of a block: weights -= optimizer(sum over the column's cells of value x H_row +
// decay x weights), with the cells' inputs (V's gradient; H is then the hidden error) or their
// errors (W's gradient, and the bias's) for values. The gradient never leaves the registers. Where
// columns may skip steps, those without a cell in the batch do.
void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step);

// For the columns that have a cell of the batch in a block: takes those of the first `count` of
// `steps` that they have skipped, along a gradient of decay x weights. Call it before their weights
// are read. Up to kMostExactSteps in a row give the same bits as if none had been skipped; more are
// taken as a few leaps (optimizer_policies.hpp), so that their number hardly matters.
void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count);

// The same for all columns in a range.
void catch_up_columns(Range columns, const TrainedMatrix& trained, const OptimizerStep* steps,
                      index_t count);

constexpr index_t kMostExactSteps = 32;

}  // namespace isthmus
