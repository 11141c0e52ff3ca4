#pragma once
// Polling between the pieces of long work.

#include "isthmus/core/parallel.hpp"
#include "pybind.hpp"

namespace isthmus {

// Returns a function that checks for Ctrl-C and reports progress. Holds `progress` by reference.
inline Poll make_poll(const py::object& progress) {
    return [&progress](index_t done) {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(done);
    };
}

}  // namespace isthmus
