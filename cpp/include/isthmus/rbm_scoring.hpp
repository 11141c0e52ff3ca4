#pragma once
// Expected ratings of a restricted Boltzmann machine, from rows' codes and columns' weights.

#include <cstdint>
#include <vector>

#include "isthmus/csr_view.hpp"
#include "isthmus/rbm.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// score(row, column) = sum over k of values_k softmax_k(bias_column,k + weights_column,k .
// code_row)
struct ExpectedRatings {
    Matrix codes;    // rows x hidden
    Matrix weights;  // (columns x levels) x hidden
    Matrix bias;     // columns x levels
    std::vector<float> values;
    bool queries_are_rows = true;  // who asks: rows, for columns; or columns, for rows

    index_t rows() const { return codes.rows(); }
    index_t columns() const { return bias.rows(); }
    index_t queries() const { return queries_are_rows ? rows() : columns(); }
    index_t candidates() const { return queries_are_rows ? columns() : rows(); }
};

// As of scoring.hpp, with these scores.
void score_pairs(const ExpectedRatings& ratings, const std::int32_t* queries,
                 const std::int32_t* candidates, index_t count, int num_threads, float* out);
void top_k(const ExpectedRatings& ratings, const CsrView& seen, index_t n, int num_threads,
           std::int32_t* items, float* scores);

// Weights and biases of columns that training did not see, by softmax regression on the codes
// (Boehning, AISM 1992: a fixed bound on the curvature, so that a column factorises one matrix):
//     max over w, b of  sum over the column's cells of log p(level | code) - penalty / 2 |w|^2
// cells: new columns x codes' rows.   weights: (new columns x levels) x hidden, bias: new x levels
void fit_columns(ConstMatrixView codes, const LevelRows& cells, index_t levels, double penalty,
                 int num_threads, MatrixView weights, MatrixView bias);

}  // namespace isthmus
