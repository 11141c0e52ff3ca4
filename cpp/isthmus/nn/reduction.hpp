#pragma once
// Sums over the machines that each hold some of the columns.

#include <functional>
#include <vector>

#include "isthmus/core/types.hpp"

namespace isthmus {

// On one machine there is nothing to add, and the function is empty.
struct Reduction {
    // add(sums, parts): of `sums`, all floats of all rows belong to the block. They hold this
    // machine's sum, and `parts` is empty; or, by slices, `parts` has the share of each slice of
    // this machine, as wide as the sums are, and the sums are to be overwritten.
    std::function<void(MatrixView sums, const std::vector<MatrixView>& parts)> add;
    bool by_slices = false;

    explicit operator bool() const { return static_cast<bool>(add); }
};

// sums = the slices' parts, over all machines, of the first `rows` rows.
void sum_parts(std::vector<Matrix>& parts, index_t rows, Matrix& sums, const Reduction& reduce,
               int num_threads);

}  // namespace isthmus
