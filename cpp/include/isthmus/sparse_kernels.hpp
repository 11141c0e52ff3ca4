#pragma once
// Products of a batch's sparse cells with dense matrices: where the time of training goes.
//
// Each works on one block of columns at a time, so that the block's weights stay in a core's cache
// while every row of the batch passes by; sums live in registers. X is the batch's input (rows x
// cols), E its decoding errors on observed cells, V and W weights (cols x k, internal columns), H a
// dense block (rows x k). docs/performance.md tells what was measured and dropped.

#include "isthmus/activations.hpp"
#include "isthmus/batch.hpp"
#include "isthmus/optimizers.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// H += X V over one block, for batch rows in `rows`.
void encode_block(const Batch& batch, index_t block, ColumnRange rows, ConstMatrixView v,
                  MatrixView h);

// H = X V over all blocks of the batch's layout, for batch rows in `rows`.
void encode_rows(const Batch& batch, ColumnRange rows, ConstMatrixView v, MatrixView h);

// What decoding needs to know of the model's output.
struct DecodeRule {
    Activation activation = Activation::identity;
    const float* bias = nullptr;  // per internal column
};

// For every observed cell: z = W_column . H_row + bias; its error 2 (f(z) - target) f'(z) replaces
// the target in the batch; dH += E W; squared_error[row] += (f(z) - target)^2.
void decode_block(Batch& batch, index_t block, ColumnRange rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error);

// A matrix of weights and its optimizer's state, of the same shape.
struct TrainedMatrix {
    MatrixView weights;
    MatrixView state[2];
    // How many steps each row has taken, where rows without a cell in a batch skip its step until a
    // batch reads them; null: all rows take every step at once.
    std::int32_t* taken = nullptr;
    // A bias for each row, which steps with it and does not decay, and its state; or null.
    float* bias = nullptr;
    float* bias_state[2] = {};
};

enum class Cells { input, error };

// For every column of a block: weights -= optimizer(sum over the column's cells of value x H_row +
// decay x weights), with the cells' inputs (V's gradient; H is then the hidden error) or their
// errors (W's gradient, and the bias's) for values. The gradient never leaves the registers. Where
// columns may skip steps, those without a cell in the batch do.
void update_columns(const ColumnLists& lists, index_t block, ColumnRange columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step);

// Takes the skipped ones of the first `count` of `steps`, along a gradient of decay x weights, for
// the columns that have a cell of the batch in a block. To be called before their weights are read.
// Up to kMostExactSteps in a row come to the same bits as if none had been skipped; more are taken
// as a few leaps (optimizers.hpp), so that their number hardly counts.
void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count);

// The same for all columns in a range.
void catch_up_columns(ColumnRange columns, const TrainedMatrix& trained, const OptimizerStep* steps,
                      index_t count);

constexpr index_t kMostExactSteps = 16;

// An array of weights and its gradient: parameters that are not kept by column.
void update_array(float* weights, const float* gradient, index_t size, float* const state[2],
                  const OptimizerStep& step);

}  // namespace isthmus
