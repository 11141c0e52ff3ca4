#pragma once
// A sparse matrix that somebody else owns: NumPy arrays, memory-mapped files.

#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"

namespace isthmus {

// Compressed sparse rows. A stored cell is observed, whatever its value; an absent one is not.
struct CsrView {
    index_t rows = 0;
    index_t cols = 0;
    const std::int64_t* indptr = nullptr;  // rows + 1
    const std::int32_t* indices = nullptr;
    const float* values = nullptr;

    index_t nnz() const { return rows == 0 ? 0 : indptr[rows] - indptr[0]; }
    index_t row_nnz(index_t row) const { return indptr[row + 1] - indptr[row]; }
    double mean_row_nnz() const {
        return rows == 0 ? 0.0 : static_cast<double>(nnz()) / static_cast<double>(rows);
    }
};

// The rows that hold a cell, in order.
std::vector<std::int32_t> filled_rows(const CsrView& matrix);

// Columns x rows, each column's cells in order of their row: indptr of cols + 1, indices and values
// of nnz, all given.
void transpose(const CsrView& matrix, int num_threads, std::int64_t* indptr, std::int32_t* indices,
               float* values);

}  // namespace isthmus
