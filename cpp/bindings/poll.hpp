#pragma once
// What training calls between batches.

#include <cstdint>
#include <functional>

#include "isthmus/types.hpp"
#include "pybind.hpp"

namespace isthmus {

// Ctrl-C, the caller's progress, and then on.
inline std::function<void(index_t)> make_poll(const py::object& progress) {
    return [&progress](index_t rows_done) {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(rows_done);
    };
}

}  // namespace isthmus
