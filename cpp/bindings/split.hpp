#pragma once
// What comes from Python where columns are split over machines.

#include <algorithm>
#include <string>
#include <vector>

#include "convert.hpp"
#include "isthmus/nn/reduction.hpp"
#include "pybind.hpp"

namespace isthmus {

// A number of at least 0 for each column, or nothing.
inline std::vector<std::int32_t> of_columns(const OptionalArray<std::int32_t>& array, index_t cols,
                                            const char* name) {
    if (!array) return {};
    const std::int32_t* const values = data_or_null(array, cols, name);
    require(*std::min_element(values, values + cols) >= 0,
            std::string(name) + " must not be below 0");
    return {values, values + cols};
}

// The rows of a matrix that hold a cell on any machine.
inline std::vector<std::int32_t> filled_rows_of(const Array<std::int32_t>& filled, index_t rows) {
    std::vector<std::int32_t> chosen(filled.data(), filled.data() + filled.size());
    bool ascends = true;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        const std::int32_t least = i == 0 ? 0 : chosen[i - 1] + 1;
        ascends = ascends && chosen[i] >= least && chosen[i] < rows;
    }
    require(ascends, "filled must list rows in ascending order");
    return chosen;
}

// A view of the core's own rows, of `cols` floats each.
inline py::array_t<float> rows_array(const MatrixView& block, index_t cols) {
    constexpr py::ssize_t item = sizeof(float);
    return py::array_t<float>({block.rows, cols}, {block.stride * item, item}, block.data,
                              py::capsule(block.data, [](void*) {}));
}

// Of a Python function, or None, that must outlive it.
inline Reduction make_reduction(const py::object& reduce, bool by_slices) {
    if (reduce.is_none()) return {};
    const auto add = [&reduce](MatrixView sums, const std::vector<MatrixView>& parts) {
        const py::gil_scoped_acquire acquire;
        py::list shares;
        for (const MatrixView& part : parts) shares.append(rows_array(part, part.cols));
        reduce(rows_array(sums, sums.stride), shares);  // contiguous, as all libraries want it
    };
    return {add, by_slices};
}

}  // namespace isthmus
