#include "isthmus/nn/activations.hpp"

#include <stdexcept>

#include "isthmus/nn/activation_functions.hpp"

namespace isthmus {

Activation activation_from_name(const std::string& name) {
    if (name == "identity") return Activation::identity;
    if (name == "sigmoid") return Activation::sigmoid;
    if (name == "centered_sigmoid") return Activation::centered_sigmoid;
    if (name == "tanh") return Activation::tanh;
    if (name == "relu") return Activation::relu;
    if (name == "elu") return Activation::elu;
    if (name == "selu") return Activation::selu;
    if (name == "swish") return Activation::swish;
    throw std::invalid_argument(
        "unknown activation '" + name +
        "': choose identity, sigmoid, centered_sigmoid, tanh, relu, elu, selu "
        "or swish");
}

void apply_activation(Activation kind, float* values, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) store(values + p, activate(kind, load(values + p)));
}

void apply_derivative(Activation kind, float* values, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) {
        const Floats z = load(values + p);
        store(values + p, derivative(kind, z, activate(kind, z)));
    }
}

void apply_exp(float* values, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) store(values + p, exp(load(values + p)));
}

void apply_cross_entropy(const float* z, float* loss, float* slope, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) {
        const CrossEntropy found = cross_entropy(load(z + p));
        store(loss + p, found.loss);
        store(slope + p, found.slope);
    }
}

}  // namespace isthmus
