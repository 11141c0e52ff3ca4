#include "isthmus/activations.hpp"

#include <stdexcept>

namespace isthmus {

Activation activation_from_name(const std::string& name) {
    if (name == "identity") return Activation::identity;
    if (name == "sigmoid") return Activation::sigmoid;
    if (name == "tanh") return Activation::tanh;
    if (name == "relu") return Activation::relu;
    if (name == "elu") return Activation::elu;
    if (name == "selu") return Activation::selu;
    if (name == "swish") return Activation::swish;
    throw std::invalid_argument("unknown activation '" + name +
                                "': choose identity, sigmoid, tanh, relu, elu, selu or swish");
}

}  // namespace isthmus
