#pragma once
// Sparse matrices that Python passes to the core many times.

#include <utility>

#include "convert.hpp"
#include "isthmus/core/csr.hpp"
#include "pybind.hpp"

namespace isthmus {

// A sparse matrix that holds its arrays.
struct BoundCells {
    Array<std::int64_t> indptr;
    Array<std::int32_t> indices;
    Array<float> values;
    CsrView view;

    BoundCells(Array<std::int64_t> indptr_, Array<std::int32_t> indices_, Array<float> values_,
               index_t cols)
        : indptr(std::move(indptr_)),
          indices(std::move(indices_)),
          values(std::move(values_)),
          view(csr_view(indptr, indices, values, cols)) {}
};

}  // namespace isthmus
