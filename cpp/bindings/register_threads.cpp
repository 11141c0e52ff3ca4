#include <atomic>

#include "isthmus/core/parallel.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

// Warns once in a process: what the system refuses once it will refuse again.
void warn_of_fewer_threads(int wanted, int started) {
    static std::atomic<bool> warned{false};
    if (warned.exchange(true)) return;
    const py::gil_scoped_acquire acquire;
    const int refused =
        PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "The system started only %d of %d threads: it limits this process's "
                         "threads or memory. Results are the same; num_threads=%d needs no more.",
                         started, wanted, started);
    if (refused != 0) throw py::error_already_set();
}

void register_threads(py::module_&) { on_fewer_threads(&warn_of_fewer_threads); }

const Registration registration_of_threads(&register_threads);

}  // namespace

}  // namespace isthmus
