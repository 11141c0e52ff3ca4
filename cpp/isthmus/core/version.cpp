#include "isthmus/core/version.hpp"

#include <Eigen/Core>

#if defined(ISTHMUS_THREADS_OPENMP)
#include <omp.h>
#elif defined(ISTHMUS_THREADS_STD)
#include <thread>
#endif

#define ISTHMUS_TEXT_(x) #x
#define ISTHMUS_TEXT(x) ISTHMUS_TEXT_(x)

namespace isthmus {

const char* version() { return ISTHMUS_VERSION; }
const char* isa() { return ISTHMUS_ISA_NAME; }
const char* compiler() { return ISTHMUS_COMPILER; }
const char* compiler_flags() { return ISTHMUS_COMPILER_FLAGS; }
const char* threads_backend() { return ISTHMUS_THREADS_NAME; }

const char* eigen_version() {
#ifdef EIGEN_VERSION_STRING  // from Eigen 5 on, where the world version stayed 3
    return EIGEN_VERSION_STRING;
#else
    return ISTHMUS_TEXT(EIGEN_WORLD_VERSION) "." ISTHMUS_TEXT(EIGEN_MAJOR_VERSION) "." ISTHMUS_TEXT(
        EIGEN_MINOR_VERSION);
#endif
}

int max_threads() {
#if defined(ISTHMUS_THREADS_OPENMP)
    return omp_get_max_threads();
#elif defined(ISTHMUS_THREADS_STD)
    return static_cast<int>(std::thread::hardware_concurrency());
#else
    return 1;
#endif
}

}  // namespace isthmus
