#pragma once

// What this core is and how it was built.

namespace isthmus {

const char* version();  // as in pyproject.toml
const char* isa();  // the instruction set it was compiled for, as cmake/IsaVariants.cmake names it
const char* compiler();         // "GNU 12.2.0"
const char* compiler_flags();   // all that the core was compiled with
const char* threads_backend();  // "openmp", "std" or "serial"
const char* eigen_version();    // "3.4.1"
int max_threads();              // as many as the threads backend would start if it were not told

}  // namespace isthmus
