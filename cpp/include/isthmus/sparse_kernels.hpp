#pragma once
// Products of a batch's sparse cells with dense matrices: where the time of training goes.
//
// Each works on one block of columns at a time, so that the block's weights stay in a core's cache
// while every row of the batch passes by; sums live in registers. X is the batch's input (rows x
// cols), E its decoding errors on observed cells, V and W weights (cols x k, internal columns), H a
// dense block (rows x k). docs/performance.md tells what was measured and dropped.

#include "isthmus/activations.hpp"
#include "isthmus/batch.hpp"
#include "isthmus/chunks.hpp"
#include "isthmus/optimizers.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// H += X V over one block, for batch rows in `rows`.
void encode_block(const Batch& batch, index_t block, ColumnRange rows, ConstMatrixView v,
                  MatrixView h);

// H = X V over all blocks of the batch's layout, for batch rows in `rows`.
void encode_rows(const Batch& batch, ColumnRange rows, ConstMatrixView v, MatrixView h);

// What decoding needs to know of the model's output and loss.
struct DecodeRule {
    Activation activation = Activation::identity;
    const float* bias = nullptr;  // per internal column
    bool logistic = false;        // cross-entropy of sigmoid(z) and a target of 0 or 1
};

// For every observed cell: z = W_column . H_row + bias; its error 2 (f(z) - target) f'(z) replaces
// the target in the batch; dH += E W; squared_error[row] += (f(z) - target)^2. With the logistic
// loss: the error is sigmoid(z) - target, and the loss takes the place of the squared error.
void decode_block(Batch& batch, index_t block, ColumnRange rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error);

// A matrix of weights and its optimizer's state, of the same shape.
struct TrainedMatrix {
    MatrixView weights;
    MatrixView state[2];
};

enum class Cells { input, error };

// For every column of a block: weights -= optimizer(sum over the column's cells of value x H_row +
// decay x weights), with the cells' inputs (V's gradient; H is then the hidden error) or their
// errors (W's gradient) for values. The gradient never leaves the registers.
void update_block(const Batch& batch, index_t block, Cells cells, ConstMatrixView h,
                  const TrainedMatrix& trained, float decay, const OptimizerOptions& options,
                  float rate, index_t step);

// The same for weights that both encode and decode: the sum over the column's cells of error x
// H_row and, those of the input, of input x dZ_row.
void update_tied_block(const Batch& batch, index_t block, ConstMatrixView h, ConstMatrixView dz,
                       const TrainedMatrix& trained, float decay, const OptimizerOptions& options,
                       float rate, index_t step);

// The output bias of a block's columns: the same with 1 for H, and no decay.
void update_bias_block(const Batch& batch, index_t block, float* bias, float* const state[2],
                       const OptimizerOptions& options, float rate, index_t step);

// An array of weights and its gradient: parameters that are not kept by column.
void update_array(float* weights, const float* gradient, index_t size, float* const state[2],
                  float decay, const OptimizerOptions& options, float rate, index_t step);

}  // namespace isthmus
