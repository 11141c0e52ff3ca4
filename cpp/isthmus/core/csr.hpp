#pragma once
// A view of a sparse matrix whose arrays belong to the caller: NumPy arrays or memory-mapped files.

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

// Returns the rows that hold a cell, in order.
std::vector<std::int32_t> filled_rows(const CsrView& matrix);

// Fills the arrays of the transpose (columns x rows), each column's cells in order of their row:
// indptr has room for cols + 1 numbers, indices and values for nnz.
void transpose(const CsrView& matrix, int num_threads, std::int64_t* indptr, std::int32_t* indices,
               float* values);

}  // namespace isthmus
