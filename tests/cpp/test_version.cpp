#include "isthmus/core/version.hpp"

#include <stdexcept>
#include <string>

#include "check.hpp"

int main() {
    CHECK(std::string(isthmus::version()).find('.') != std::string::npos);
    CHECK(std::string(isthmus::compiler_flags()).find("-ffast-math") == std::string::npos);
    CHECK(isthmus::max_threads() >= 1);
    CHECK_EQUAL(std::string(isthmus::eigen_version()).empty(), false);

    // The harness itself: what it lets pass, and what not.
    CHECK_CLOSE(1.0f, 1.0 + 1e-7, 1e-6);
    CHECK(!check::close(1.0, 2.0, 0.5));
    CHECK(!check::close(std::numeric_limits<double>::quiet_NaN(), 0.0, 1e9));
    CHECK_THROWS(std::stoi("not a number"), std::invalid_argument);

    return check::result();
}
