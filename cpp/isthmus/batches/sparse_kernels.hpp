#pragma once
// Products of a batch's sparse cells with dense matrices: where the time of training goes.
//
// Each works on one block of columns at a time, so that the block's weights stay in a core's cache
// while every row of the batch passes by; sums live in registers. X is the batch's input (rows x
// cols), E its decoding errors on observed cells, V and W weights (cols x k, internal columns), H a
// dense block (rows x k). docs/performance.md tells what was measured and dropped.

#include "isthmus/batches/batch.hpp"
#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"

namespace isthmus {

// H += X V over one block, for batch rows in `rows`. V is a ConstMatrixView or a ConstHalfView.
template <class View>
void encode_block(const Batch& batch, index_t block, Range rows, View v, MatrixView h);

// H = X V over some blocks of the batch's layout, or all, for batch rows in `rows`.
void encode_rows(const Batch& batch, Range rows, Range blocks, ConstMatrixView v, MatrixView h);
void encode_rows(const Batch& batch, Range rows, ConstMatrixView v, MatrixView h);

// How the model's output is computed from the decoder's products.
struct DecodeRule {
    Activation activation = Activation::identity;
    const float* bias = nullptr;  // per internal column
};

// For every observed cell with a weight w: z = W_column . H_row + bias; its error
// 2 w (f(z) - target) f'(z) replaces the target in the batch; dH += E W;
// squared_error[row] += w (f(z) - target)^2.
void decode_block(Batch& batch, index_t block, Range rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error);
void decode_block(Batch& batch, index_t block, Range rows, ConstHalfView w, const DecodeRule& rule,
                  ConstHalfView h, MatrixView dh, double* squared_error);

}  // namespace isthmus
