#pragma once
// Converts NumPy arrays to the core's views, and checks them: the core does not.

#include <algorithm>
#include <optional>
#include <string>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"
#include "pybind.hpp"

namespace isthmus {

// C-contiguous and of exactly this type: the bindings never copy what they are given.
template <class T>
using Array = py::array_t<T, py::array::c_style>;
template <class T>
using OptionalArray = std::optional<Array<T>>;

inline void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T>
const T* data_or_null(const OptionalArray<T>& array, index_t size, const char* name) {
    if (!array) return nullptr;
    require(array->size() == size, std::string(name) + " has " + std::to_string(array->size()) +
                                       " values; it must have " + std::to_string(size));
    return array->data();
}

// The pattern of a CSR matrix; indices are checked to lie within the columns.
inline CsrView csr_pattern(const Array<std::int64_t>& indptr, const Array<std::int32_t>& indices,
                           index_t cols) {
    require(indptr.ndim() == 1 && indptr.size() >= 1, "indptr must hold rows + 1 positions");
    const index_t rows = indptr.size() - 1;
    const std::int64_t* p = indptr.data();
    bool ascends = true;
    for (index_t r = 0; r < rows; ++r) ascends = ascends && p[r] <= p[r + 1];
    require(ascends, "indptr must not decrease");
    require(p[0] >= 0 && p[rows] <= indices.size(), "indptr points outside of indices and values");
    const std::int32_t* columns = indices.data();
    bool inside = true;
    for (index_t i = p[0]; i < p[rows]; ++i)
        inside = inside && columns[i] >= 0 && columns[i] < cols;
    require(inside, "indices must lie in [0, " + std::to_string(cols) + ")");
    return {rows, cols, p, columns, nullptr};
}

// The same, where each row's indices are to ascend strictly.
inline CsrView ascending_pattern(const Array<std::int64_t>& indptr,
                                 const Array<std::int32_t>& indices, index_t cols) {
    const CsrView view = csr_pattern(indptr, indices, cols);
    bool ascends = true;
    for (index_t r = 0; r < view.rows; ++r) {
        for (index_t i = view.indptr[r] + 1; i < view.indptr[r + 1]; ++i) {
            ascends = ascends && view.indices[i - 1] < view.indices[i];
        }
    }
    require(ascends, "the indices of a row must ascend, none of them twice");
    return view;
}

// The three arrays of a CSR matrix.
inline CsrView csr_view(const Array<std::int64_t>& indptr, const Array<std::int32_t>& indices,
                        const Array<float>& values, index_t cols) {
    require(indptr.ndim() == 1 && indptr.size() >= 1, "indptr must hold rows + 1 positions");
    require(indptr.data()[indptr.size() - 1] <= values.size(),
            "indptr points outside of indices and values");
    CsrView view = csr_pattern(indptr, indices, cols);
    view.values = values.data();
    return view;
}

// Rows with any stride between them, unit stride within: slices and padded matrices alike.
inline ConstMatrixView matrix_view(const py::array_t<float>& array, const char* name) {
    require(array.ndim() == 2, std::string(name) + " must have 2 dimensions");
    constexpr py::ssize_t item = sizeof(float);
    // NumPy gives an empty array any strides
    if (array.size() == 0) return {array.data(), array.shape(0), array.shape(1), array.shape(1)};
    const bool rows_are_whole = array.shape(1) == 1 || array.strides(1) == item;
    const bool strided = array.strides(0) >= 0 && array.strides(0) % item == 0;
    require(rows_are_whole && strided, std::string(name) + " must have contiguous rows");
    return {array.data(), array.shape(0), array.shape(1), array.strides(0) / item};
}

// A copy, padded as the core wants it.
inline Matrix matrix_from(const py::array_t<float>& array, const char* name) {
    const ConstMatrixView from = matrix_view(array, name);
    Matrix matrix(from.rows, from.cols);
    for (index_t r = 0; r < from.rows; ++r) std::copy_n(from.row(r), from.cols, matrix.row(r));
    return matrix;
}

// A view of a matrix's numbers, without its padding, that keeps `owner` alive.
inline py::array_t<float> matrix_array(Matrix& matrix, const py::object& owner) {
    constexpr py::ssize_t item = sizeof(float);
    return py::array_t<float>({matrix.rows(), matrix.cols()}, {matrix.stride() * item, item},
                              matrix.data(), owner);
}

}  // namespace isthmus
