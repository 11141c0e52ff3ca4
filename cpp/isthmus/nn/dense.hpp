#pragma once
// Dense products and row-wise operations of the hidden layers. Every product is cut by rows or
// columns of its result into fixed pieces, and Eigen is told fixed cache sizes, so that a result's
// bits depend neither on the threads nor on the machine's caches.

#include <vector>

#include "isthmus/core/types.hpp"
#include "isthmus/nn/activations.hpp"

namespace isthmus {

// Rows of these two products have the same bits whatever rows they are multiplied with.

// out[begin:end] = a[begin:end] b.   a: rows x m, b: m x n
void multiply_rows(ConstMatrixView a, ConstMatrixView b, index_t begin, index_t end,
                   MatrixView out);

// out[begin:end] = a[begin:end] b^T.   a: rows x n, b: m x n
void multiply_rows_transposed(ConstMatrixView a, ConstMatrixView b, index_t begin, index_t end,
                              MatrixView out);

// out[:, begin:end] = a^T b[:, begin:end] over the first `rows` rows.   a: rows x m, b: rows x n
void multiply_columns(ConstMatrixView a, ConstMatrixView b, index_t rows, index_t begin,
                      index_t end, MatrixView out);

// out[:, begin:end] += a^T b[:, begin:end] over the first `rows` rows.   a: rows x m, b: rows x n
void add_columns(ConstMatrixView a, ConstMatrixView b, index_t rows, index_t begin, index_t end,
                 MatrixView out);

// out += a b, serially.   a: rows x m, b: m x n
void add_product(ConstMatrixView a, ConstMatrixView b, MatrixView out);

// out -= a b^T, serially.   a: m x k, b: n x k
void subtract_product_transposed(ConstMatrixView a, ConstMatrixView b, MatrixView out);

// sums += row, over `width` floats: whole vectors, aligned.
void add_row(const float* row, float* sums, index_t width);

// sums += factor x row, likewise.
void add_scaled_row(float factor, const float* row, float* sums, index_t width);

// sums[j] = the sum of the first `rows` rows of a, in their order.
void sum_columns(ConstMatrixView a, index_t rows, float* sums);

// out = the sum of row r of every part, in the parts' order.
void sum_rows(const std::vector<Matrix>& parts, index_t r, float* out, index_t width);

// z += bias; h = activation(z); the padding of h stays 0.
void activate_row(Activation activation, const float* bias, float* z, float* h, index_t cols);

// error *= activation'(z), with h = activation(z); kept (or null) multiplies first, and then h is
// recomputed, since dropout has changed it.
void through_activation(Activation activation, const float* z, const float* h, const float* kept,
                        float* error, index_t width);

}  // namespace isthmus
