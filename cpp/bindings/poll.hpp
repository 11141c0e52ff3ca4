#pragma once
// What long work does between its pieces, on the thread that called it.

#include "isthmus/core/parallel.hpp"
#include "pybind.hpp"

namespace isthmus {

// Ctrl-C, the caller's progress, and then on. Holds `progress` by reference.
inline Poll make_poll(const py::object& progress) {
    return [&progress](index_t done) {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(done);
    };
}

}  // namespace isthmus
