#pragma once

// The one place that includes pybind11, so that every binding sees the same type casters.
//
// Several variants of the core may live in one process, and pybind11 shares its registry of types
// between modules: every py::class_ needs py::module_local(), and every exception
// py::register_local_exception.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;
