#include <algorithm>
#include <numeric>

#include "convert.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/activations.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

// Functions that no model needs from Python, but tests and documentation do.

using Positions = Array<std::uint32_t>;

Philox philox(std::uint64_t seed, std::uint32_t stream, std::uint32_t epoch) {
    return {seed, static_cast<Stream>(stream), epoch};
}

py::array_t<std::uint32_t> random_words(std::uint64_t seed, std::uint32_t stream,
                                        std::uint32_t epoch, std::uint32_t row,
                                        const Positions& positions) {
    py::array_t<std::uint32_t> out({positions.size(), py::ssize_t{4}});
    const Philox draw = philox(seed, stream, epoch);
    for (py::ssize_t i = 0; i < positions.size(); ++i) {
        const auto words = draw(row, positions.data()[i]);
        std::copy(words.begin(), words.end(), out.mutable_data(i, 0));
    }
    return out;
}

template <float (Philox::*Draw)(std::uint32_t, std::uint32_t) const>
py::array_t<float> random_floats(std::uint64_t seed, std::uint32_t stream, std::uint32_t epoch,
                                 std::uint32_t row, const Positions& positions) {
    py::array_t<float> out(positions.size());
    const Philox draw = philox(seed, stream, epoch);
    std::transform(positions.data(), positions.data() + positions.size(), out.mutable_data(),
                   [&](std::uint32_t position) { return (draw.*Draw)(row, position); });
    return out;
}

py::array_t<std::int32_t> bind_shuffle(index_t size, std::uint64_t seed, std::uint32_t epoch) {
    require(size >= 0, "size must be at least 0");
    std::vector<std::int32_t> items(static_cast<std::size_t>(size));
    std::iota(items.begin(), items.end(), 0);
    shuffle(items, seed, epoch);
    return py::array_t<std::int32_t>(size, items.data());
}

// Returns what apply(values, width) makes of z.
template <class Apply>
py::array_t<float> applied(const Array<float>& z, const Apply& apply) {
    Matrix padded(1, z.size());
    std::copy_n(z.data(), z.size(), padded.row(0));
    apply(padded.row(0), padded.width());
    return py::array_t<float>(z.size(), padded.row(0));
}

py::array_t<float> bind_activate(const std::string& name, const Array<float>& z) {
    const Activation kind = activation_from_name(name);
    return applied(z,
                   [kind](float* values, index_t width) { apply_activation(kind, values, width); });
}

py::array_t<float> bind_derivative(const std::string& name, const Array<float>& z) {
    const Activation kind = activation_from_name(name);
    return applied(z,
                   [kind](float* values, index_t width) { apply_derivative(kind, values, width); });
}

py::array_t<float> bind_exp(const Array<float>& z) { return applied(z, &apply_exp); }

py::tuple bind_cross_entropy(const Array<float>& z) {
    Matrix slope(1, z.size());
    const auto loss = applied(z, [&](float* values, index_t width) {
        apply_cross_entropy(values, values, slope.row(0), width);
    });
    return py::make_tuple(loss, py::array_t<float>(z.size(), slope.row(0)));
}

void register_primitives(py::module_& module) {
    const auto draws = [&module](const char* name, auto function, const char* doc) {
        module.def(name, function, py::arg("seed"), py::arg("stream"), py::arg("epoch"),
                   py::arg("row"), py::arg("positions"), doc);
    };
    draws("random_words", &random_words, "Philox4x32-10's four words at each position of a row.");
    draws("random_uniform", &random_floats<&Philox::uniform>, "Draws in [0, 1), one a position.");
    draws("random_normal", &random_floats<&Philox::normal>, "Standard normal draws.");
    module.def("shuffle", &bind_shuffle, py::arg("size"), py::arg("seed"), py::arg("epoch"),
               "The order in which an epoch takes `size` rows.");

    module.def("activate", &bind_activate, py::arg("name"), py::arg("z"), "An activation at z.");
    module.def("derivative", &bind_derivative, py::arg("name"), py::arg("z"), "Its slope at z.");
    module.def("exp", &bind_exp, py::arg("z"), "The exponential that the core computes with.");
    module.def("cross_entropy", &bind_cross_entropy, py::arg("z"),
               "log(1 + exp(z)), the loss of a logit z whose target is 0, and its slope.");
}

const Registration registration_of_primitives(&register_primitives);

}  // namespace

}  // namespace isthmus
